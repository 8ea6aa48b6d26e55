"""What a form for serving can carry of an adapter, and the adapter in that form: LoRA, IA3, merged, folded."""
