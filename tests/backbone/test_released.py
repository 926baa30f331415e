"""Our BiFormer is the released one."""

import pytest
import timm
import torch
from helpers.released import FIGURES, made_up_input, made_up_weights, relative_error, thin

import biformer_lit
from biformer_lit.checkpoints.released_names import rename_released

TOLERANCE = 1e-6
PARAMETERS = {
    "biformer_tiny": 13_142_760,
    "biformer_small": 25_536_232,
    "biformer_base": 56_804_968,
    "biformer_stl": 28_372_552,
    "biformer_stl_nchw": 28_372_552,
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_number_of_parameters(name):
    with torch.device("meta"):
        model = timm.create_model(name)
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[name]


@pytest.mark.parametrize("name", PARAMETERS)
def test_logits_and_gradients(name):
    shapes, figures = FIGURES["manifests"][name], FIGURES["models"][name]
    model = timm.create_model(name).eval()
    biformer_lit.load_weights(model, made_up_weights(shapes, 2026))
    model.double()
    logits = model(made_up_input((2, 3, 224, 224), 2026))
    assert relative_error(logits, figures["logits"]) < TOLERANCE
    (logits * made_up_input((2, 1000), 2027)).sum().backward()
    total = torch.stack([p.grad.square().sum() for p in model.parameters()]).sum().sqrt()
    assert relative_error(total[None], figures["grad_norm_total"]) < TOLERANCE
    gradients = dict(model.named_parameters())
    checked = 0
    for released, ours in zip(shapes, rename_released({k: torch.zeros(s) for k, s in shapes.items()}), strict=True):
        if f"grad/{released}" in figures:
            assert relative_error(gradients[ours].grad, figures[f"grad/{released}"]) < TOLERANCE, released
            checked += 1
    assert checked >= 2


@pytest.mark.parametrize("case", FIGURES["dense"])
def test_dense_features_with_the_released_padding(case):
    figures = FIGURES["dense"][case]
    model = timm.create_model(
        "biformer_tiny", features_only=True, regions=figures["regions"], padding="released"
    ).eval()
    biformer_lit.load_weights(model, made_up_weights(FIGURES["manifests"]["biformer_tiny"], 2026))
    with torch.no_grad():
        features = model.double()(made_up_input((1, 3, *figures["size"]), 2026))
    assert [list(f.shape) for f in features] == figures["shapes"]
    for feature, stored in zip(features, figures["stages"], strict=True):
        flat = feature.flatten()
        picked = flat[:: max(1, len(flat) // figures["every"])][: len(stored)]
        wanted = torch.tensor(stored, dtype=torch.float64)
        assert (picked - wanted).norm() / wanted.norm() < TOLERANCE


@pytest.mark.parametrize("backend", ["reference", "gather_sdpa", "masked_sdpa"])
@pytest.mark.parametrize("case", FIGURES["attention"])
def test_attention_module(case, backend):
    figures = FIGURES["attention"][case]
    channels_first = figures["layout"] == "NCHW"
    module = biformer_lit.BiLevelRoutingAttention(
        figures["dim"],
        figures["heads"],
        topk=figures["topk"],
        regions=figures["regions"],
        lce=figures["lce"],
        padding="released_nchw" if channels_first else "released",
        backend=backend,
    )
    weights = made_up_weights(figures["manifest"], figures["seed"])
    names = dict(zip(weights, _our_names(list(weights)), strict=True))
    module.load_state_dict(
        {names[k]: w if "lepe" in k else w.flatten(1) if w.ndim > 1 else w for k, w in weights.items()}
    )
    module.double()

    x = made_up_input(tuple(figures["shape"]), figures["seed"])
    weight_of_output = made_up_input(tuple(figures["shape"]), figures["seed"] + 100)
    x = (x.permute(0, 2, 3, 1) if channels_first else x).clone().requires_grad_()
    out = module(x)
    out = out.permute(0, 3, 1, 2) if channels_first else out
    out.backward(weight_of_output)
    grad = x.grad.permute(0, 3, 1, 2) if channels_first else x.grad
    assert relative_error(out, figures["output"]) < TOLERANCE
    assert relative_error(grad, figures["grad_input"]) < TOLERANCE
    parameters = dict(module.named_parameters())
    for released, gradient in figures["gradients"].items():
        assert relative_error(parameters[names[released]].grad, gradient) < TOLERANCE, released


def _our_names(keys):
    """Names of the attention module alone, by way of a block of a whole model."""
    renamed = rename_released(
        {"downsample_layers.0.0.weight": torch.zeros(1)} | {f"stages.0.0.attn.{k}": torch.zeros(1, 1) for k in keys}
    )
    return [key.removeprefix("stages.0.blocks.0.attn.") for key in list(renamed)[1:]]


def test_thinning_keeps_a_known_number():
    assert len(thin(torch.zeros(10_000))) == 96
