"""The movement of a model, layer by layer: its weights, its hidden states, and what a feature-space adapter adds."""
