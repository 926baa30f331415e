"""Data sets that come with the package: handwritten digits, and scenes that are drawn of them."""
