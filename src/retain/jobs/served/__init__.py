"""What a verb does with a model that is served: open it, look at it, check the adapter, measure."""
