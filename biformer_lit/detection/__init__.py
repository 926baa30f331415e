"""Objects as boxes and masks: the task, its data, its scores, and what it draws and writes."""
