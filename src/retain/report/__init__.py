"""What people read: tables for the terminal, Markdown, plots and a page, all made from `retain.records.result` records.

Nothing here knows torch or a model. `write` makes the files of a run or of a comparison; `terminal` prints them.
"""
