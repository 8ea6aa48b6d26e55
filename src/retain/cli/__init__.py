"""The command line: one file a verb; it parses, calls the workflow, and prints."""
