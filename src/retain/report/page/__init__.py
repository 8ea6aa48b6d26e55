"""Whole documents: the HTML page, Markdown, the model card."""
