"""The PEFT tuner and layer that all feature-space methods share."""
