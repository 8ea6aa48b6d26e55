"""Regularisers against catastrophic forgetting: KL penalty, KL monitor, replay, update limit."""
