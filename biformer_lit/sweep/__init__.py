"""Studies: one question, a plan of cells, trials that can be interrupted, and a table of what came of them."""
