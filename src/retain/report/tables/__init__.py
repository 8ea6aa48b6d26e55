"""Tables as plain text cells, for the terminal, Markdown and the page alike."""
