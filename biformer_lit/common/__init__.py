"""Helpers that every room shares: files, YAML, seeds, devices, COCO."""
