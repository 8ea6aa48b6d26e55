"""The short sweep behind `retain advise`: candidates trained a few steps, measured, and one of them recommended."""
