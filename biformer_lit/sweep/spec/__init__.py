"""Specification of a study: its file read, its cells planned, and the complete config of each."""
