"""Base against tuned: what was learned, what was lost, how far the model moved. `metrics` is the pure mathematics."""
