"""The jobs that people come for, each put together from the layers below: check, tune, compare, measure."""
