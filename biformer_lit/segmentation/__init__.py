"""Classes of pixels: the task, its data, its scores, and what it draws and writes."""
