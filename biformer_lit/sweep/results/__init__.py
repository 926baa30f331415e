"""What came of a study: the table of its trials, its cells compared, and the files that are exported."""
