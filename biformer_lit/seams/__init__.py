"""Private and undocumented parts of other libraries, one function for each and one file for each library.

Nothing else in the package touches such a part. Each function says what it stands on and since which version it is
there; ``tests/seams`` fails with a clear word if the part moves or changes its meaning.
"""
