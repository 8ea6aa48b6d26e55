"""Pure tensor functions: leading eigenspaces, how subspaces compare, symmetric and low-rank matrices."""
