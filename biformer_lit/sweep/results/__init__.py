"""Results of a study: the table of its trials, its cells compared, and the exported files."""
