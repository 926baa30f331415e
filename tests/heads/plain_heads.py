"""A plug-in: heads of its own for segmentation and detection."""

import torch
from torch import nn

import biformer_lit
from biformer_lit.heads import AnchorHead


@biformer_lit.register_head("segmentation", "last_map", channels=24)
class LastMap(nn.Module):
    """Classes from the coarsest map alone."""

    def __init__(self, channels, num_classes, width, dropout, norm):
        super().__init__()
        self.body = nn.Conv2d(channels[-1], width, 1)
        self.classifier = nn.Conv2d(width, num_classes, 1)

    def forward(self, maps):
        return self.classifier(self.body(maps[-1]).relu())


@biformer_lit.register_head("segmentation", "without_classifier")
class WithoutClassifier(nn.Module):
    """Lacks what a head needs."""

    def __init__(self, channels, num_classes, width, dropout, norm):
        super().__init__()
        self.last = nn.Conv2d(channels[-1], num_classes, 1)

    def forward(self, maps):
        return self.last(maps[-1])


@biformer_lit.register_head("detection", "wide_anchors", first_stage=1, coarser=2, anchor_scale=6.0)
class WideAnchors(AnchorHead):
    """RetinaNet's head with larger anchors, whose losses count half."""

    def forward(self, levels, images, targets=None):
        found = super().forward(levels, images, targets)
        return {name: torch.mul(loss, 0.5) for name, loss in found.items()} if self.training else found
