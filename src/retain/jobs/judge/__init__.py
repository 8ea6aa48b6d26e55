"""The verdict from predictions that exist already: logs, read, paired and judged. No model, no torch."""
