"""The fine-tuning methods and one table of them: a folder each, and a file for each initialisation of LoRA.

Nothing is imported here, so that `retain.methods.table` can be read without torch.
"""
