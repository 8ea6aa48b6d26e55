"""Models behind a server: its address, what it can be asked, and its answers. No torch here."""
