"""Classes of whole images: the task, its data, and what it writes."""
