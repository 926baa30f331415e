"""What segmentation and detection have in common."""
