"""Regularisers against forgetting: KL penalty, KL monitor, replay, update limit."""
