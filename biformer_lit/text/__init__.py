"""Text that people read: escaped for where it is shown, drawn, compared, and rewritten as one line."""
