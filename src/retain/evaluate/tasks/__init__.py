"""Task types: one file each, the table of all in `table`."""
