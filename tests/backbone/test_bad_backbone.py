"""Networks that cannot be built: one line, exit status 2, nothing touched.

Each row is a command line, as ``helpers.bad_input`` reads it, and what its one line of error says.
"""

import pytest

BACKBONE = [
    pytest.param("fit $tiny --model.backbone.topk 5", r"stage 1: topk=5 is outside 1\.\.4.*choose", id="topk-large"),
    pytest.param("fit $tiny --model.backbone.topk 0", r"stage 1: topk=0 is outside 1\.\.4", id="topk-zero"),
    pytest.param(
        "fit $tiny --model.backbone.topk [1,all,all]", r"topk=.* has 3 values for 2 stages; give", id="topk-list"
    ),
    pytest.param(
        "fit $tiny --model.backbone.topk [1,1]", r"stage 2: topk=1 .*full attention; write 'all'", id="topk-full"
    ),
    pytest.param(
        "fit $tiny --data.image_size 2 --model.backbone.stem patch",
        r"stage 2 of a 2x2 image: nothing is left of the map; use larger images",
        id="image-too-small",
    ),
    pytest.param("fit $tiny --data.image_size 0", r"image_size: 0 must be 1 or more", id="image-size-zero"),
    pytest.param("fit $tiny --model.backbone.regions 0", r"stage 1: regions=0 must be at least 1", id="regions-zero"),
    pytest.param("fit $tiny --model.backbone.head_dim 12", r"stage 1: 16 .*head_dim=12; change dims or", id="head-dim"),
    pytest.param(
        "fit $tiny --model.backbone.full_heads 5", r"stage 2: 32 .*5 heads; change .*full_heads", id="full-heads"
    ),
    pytest.param("fit $tiny --model.backbone.dims [15,32]", r"dims=\[15, 32\]: .*an even number", id="odd-channels"),
    pytest.param(
        "fit $tiny --model.backbone.depths [1,1,1]", r"depths=\[1, 1, 1\] and dims=.* for each stage", id="depths"
    ),
    pytest.param(
        "fit $tiny --model.backbone.attention [bra]", r"attention=.* 1 values for 2 stages; give", id="patterns"
    ),
    pytest.param("fit $tiny --model.backbone.cpe 2", r"cpe=2 is not a kernel size; use 0 .*odd", id="cpe-even"),
    pytest.param(
        "fit $tiny --model.backbone.lce 4", r"stage 1: lce=4 is not a kernel size; use 0 .*odd", id="lce-even"
    ),
    pytest.param(
        "fit $tiny --model.backbone.stem_stride 3", r"stem_stride=3 is not supported; use 4", id="stem-stride"
    ),
    pytest.param(
        "fit $tiny --model.backbone.mlp_ratio -1", r"stage 1: mlp_ratio=-1\.0 leaves .*use a number", id="mlp"
    ),
    pytest.param(
        "fit $tiny --model.backbone.drop_path_rate 1", r"drop_path_rate=1\.0 must be .*below 1", id="drop-path"
    ),
    pytest.param(
        "fit $tiny --model.backbone.in_chans 1", r"in_chans=1, but the images have 3 channels; make", id="in-chans"
    ),
]

FACTORS = [
    pytest.param("fit $tiny --model.backbone.routing best", r"backbone\.routing: 'best' .*'topk'", id="routing"),
    pytest.param(
        "fit $tiny --model.backbone.routing [topk,fixed]",
        r"backbone\.routing: .*'fixed'.*'random_fixed'",
        id="routings",
    ),
    pytest.param(
        "fit $tiny --model.backbone.routing_pool median", r"routing_pool: 'median' .*'mean', 'max'", id="pool"
    ),
    pytest.param("fit $tiny --model.backbone.routing_heads own", r"routing_heads: 'own' .*'per_head'", id="heads"),
    pytest.param(
        "fit $tiny --model.backbone.routing_gradient 2", r"routing_gradient: .*2.*expected bool", id="gradient"
    ),
    pytest.param(
        "fit $tiny --model.backbone.routing_pool [max,max,max]",
        r"routing_pool=.* has 3 values for 2 stages; give one value",
        id="pool-list",
    ),
    pytest.param("fit $tiny --model.backbone.regions best", r"backbone\.regions: 'best' .*'auto'", id="regions-word"),
    pytest.param(
        "fit $tiny --model.backbone.regions auto --model.backbone.topk all",
        r"stage 1: regions=auto .* give topk as a number",
        id="auto-with-all",
    ),
    pytest.param(
        "fit $tiny --model.backbone.regions auto --model.backbone.padding released",
        r"stage 1: regions=auto does not go with padding='released'; use padding='masked'",
        id="auto-with-padding",
    ),
    pytest.param(
        "fit $tiny --model.backbone.regions auto --model.backbone.topk [0,all]",
        r"stage 1: topk=0 must be at least 1",
        id="auto-with-zero",
    ),
    pytest.param(
        "fit $tiny --model.backbone.regions [[2,0],2]",
        r"stage 1: regions=\(2, 0\) must be at least 1",
        id="regions-pair",
    ),
    pytest.param(
        "fit $tiny --model.backbone.attention window --model.backbone.window 0",
        r"stage 1: window=0 must be at least 1",
        id="window",
    ),
    pytest.param(
        "fit $tiny --model.backbone.attention stripes --model.backbone.stripe_width 1",
        r"stage 1: stripes take two heads.*lower head_dim",
        id="one-head",
    ),
    pytest.param(
        "fit $tiny --model.backbone.attention stripes --model.backbone.head_dim 8",
        r"stripe_width=\[1, 2, 7, 7\] has 4 values for 2 stages; give one value, or one for each stage",
        id="stripes-list",
    ),
    pytest.param(
        "fit $tiny --model.backbone.attention stripes --model.backbone.head_dim 8 --model.backbone.stripe_width -1",
        r"stage 1: stripe_width=-1 must be at least 1",
        id="stripe-width",
    ),
    pytest.param(
        "fit $tiny --model.backbone.attention dilated --model.backbone.dilation 0",
        r"stage 1: dilation=0 must be at least 1",
        id="no-dilation",
    ),
    pytest.param(
        "fit $tiny --model.backbone.attention deformable --model.backbone.deform_stride [0,1]",
        r"stage 1: deform_stride=0 must be at least 1",
        id="deform-stride",
    ),
    pytest.param(
        "fit $tiny --model.backbone.attention deformable --model.backbone.deform_stride 1 "
        "--model.backbone.deform_groups 3",
        r"stage 1: 1 heads do not divide into deform_groups=3; choose a divisor of 1",
        id="deform-groups",
    ),
    pytest.param(
        "fit $tiny --model.backbone.attention deformable --model.backbone.deform_stride 1 "
        "--model.backbone.deform_range 0",
        r"stage 1: deform_range=0\.0 must be above 0",
        id="deform-range",
    ),
    pytest.param(
        "fit $tiny --model.backbone.shift sideways", r"backbone\.shift: 'sideways' .*expected bool", id="shift"
    ),
    pytest.param("fit $tiny --model.optim.name adam", r"optim\.name: 'adam' .*'adamw', 'sgd', 'muon'", id="optimiser"),
]


@pytest.mark.parametrize(("arguments", "message"), [*BACKBONE, *FACTORS])
def test_a_bad_network_gives_one_clear_line(arguments, message, check_refusal):
    check_refusal(arguments, message)
