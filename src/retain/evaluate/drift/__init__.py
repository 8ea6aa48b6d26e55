"""How far a model moved, layer by layer: its weights, its hidden states, and what a feature-space adapter adds."""
