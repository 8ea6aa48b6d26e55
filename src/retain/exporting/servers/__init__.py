"""What servers refuse or ignore of an adapter or a model, by rules read in their sources. Loads no torch."""
