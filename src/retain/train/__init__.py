"""Training: the loop on transformers' Trainer, its callbacks, and regularisers against forgetting."""
