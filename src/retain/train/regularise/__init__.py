"""Regularisers against catastrophic forgetting: KL penalty, KL monitor, EWC, replay, update limit."""
