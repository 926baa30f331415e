"""BatchNorms folded away for inference: the same logits from fewer layers."""

import pytest
import timm
import torch
from torch import nn

from biformer_lit import fold_norms
from biformer_lit.errors import ConfigError


def trained(**settings):
    """A network whose BatchNorms have something to fold."""
    torch.manual_seed(0)
    model = timm.create_model(
        "biformer_tiny", depths=(1, 1, 1, 1), dims=(32, 64, 96, 128), num_classes=5, regions=4, topk=2, **settings
    ).double()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.1, 2)
    return model


@pytest.mark.parametrize("stem", ["overlap", "patch"])
def test_the_logits_stay(stem):
    model = trained(stem=stem)
    x = torch.randn(2, 3, 128, 160, dtype=torch.float64)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    folded = fold_norms(model)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    torch.testing.assert_close(folded(x), model.eval()(x), rtol=1e-10, atol=1e-10)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not any(p.requires_grad for p in folded.parameters())


def test_a_network_without_classifier_is_refused():
    with pytest.raises(ConfigError, match=r"give a network with num_classes above 0"):
        fold_norms(timm.create_model("biformer_tiny", num_classes=0))


def test_a_folded_network_is_refused():
    with pytest.raises(ConfigError, match=r"the last norm is gone already"):
        fold_norms(fold_norms(trained()))
