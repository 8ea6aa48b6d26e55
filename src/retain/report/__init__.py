"""Reports for people: tables, plots, Markdown and a page, all made from the records of `retain.records`.

Nothing here knows torch or a model. `write` makes the files of a run or of a comparison; `terminal` prints them.
"""
