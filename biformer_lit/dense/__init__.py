"""Shared parts of segmentation and detection."""
