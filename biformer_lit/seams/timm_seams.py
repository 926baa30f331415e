"""Private parts of timm. Seen in timm 1.0.31."""

from timm.models._features import feature_take_indices

__all__ = ["feature_take_indices"]
