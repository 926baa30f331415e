"""Small networks, one for each factor of attention, at sizes that regions divide and that they do not."""

from biformer_lit import Backbone

SMALL = {"depths": [2, 1, 1], "dims": [32, 64, 96], "head_dim": 16}
SIZES = [(64, 64), (72, 100)]
_ROUTED = {"attention": "bra", "topk": [2, 4, "all"], "regions": 4}
_RIVALS = {"window": 3, "stripe_width": [1, 2, 7], "dilation": [3, 2, 1], "deform_stride": [3, 2, 1]}

FACTORS = {
    "released": _ROUTED,
    "regions-auto": {"attention": "bra", "topk": 2, "regions": "auto"},
    "regions-pairs": {"attention": "bra", "topk": 2, "regions": [[3, 4], [2, 3], [2, 2]]},
    "padding-released": {**_ROUTED, "padding": "released"},
    "padding-released-nchw": {**_ROUTED, "padding": "released_nchw"},
    "random": {**_ROUTED, "routing": "random"},
    "random-per-head": {**_ROUTED, "routing": "random", "routing_heads": "per_head"},
    "random-fixed-per-head": {**_ROUTED, "routing": "random_fixed", "routing_heads": "per_head"},
    "local": {**_ROUTED, "routing": "local"},
    "local-with-gradient": {**_ROUTED, "routing": "local", "routing_gradient": True},
    "max-per-head-with-gradient": {
        **_ROUTED,
        "routing_pool": "max",
        "routing_heads": "per_head",
        "routing_gradient": True,
    },
    "gradient-and-released-padding": {**_ROUTED, "routing_gradient": True, "padding": "released"},
    "no-lce": {**_ROUTED, "lce": 0},
    "full": {"attention": "full"},
    "full-as-the-others": {"attention": "full", "full_heads": 0, "full_qkv_bias": True, "full_lce_input": "value"},
    "window": {"attention": "window", **_RIVALS},
    "window-unshifted": {"attention": "window", "shift": False, **_RIVALS},
    "stripes": {"attention": "stripes", **_RIVALS},
    "dilated": {"attention": "dilated", **_RIVALS},
    "deformable": {"attention": "deformable", **_RIVALS},
    "deformable-groups": {"attention": "deformable", "deform_groups": 2, **_RIVALS, "lce": 0},
    "mixed": {"attention": ["bra", "window", "deformable"], "topk": 3, "regions": 3, "in_chans": 1, **_RIVALS},
    "stochastic": {**_ROUTED, "drop_path_rate": 0.2, "drop_rate": 0.1},
    "swin-layout": {"name": "biformer_stl", **_ROUTED},
    "no-position-encoding": {**_ROUTED, "cpe": 0, "stem_stride": 2, "mlp_ratio": [1, 2.5, 4]},
}


def cell(name):
    """The network of one factor."""
    return Backbone(**{**SMALL, **FACTORS[name]})
