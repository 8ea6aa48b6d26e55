"""The drift of a model, layer by layer: its weights, its hidden states, its feature scales."""
