"""How items are put to a model and scored: one kind a file, the table of all in `table`."""
