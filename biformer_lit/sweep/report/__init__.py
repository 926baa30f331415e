"""A study's results for people: one page, tables and figures, from the files in its folder."""
