"""The worked examples of CONTRIBUTING.md do what they say, as they are written there."""

import json
import os
import re
import subprocess
import sys

import pytest
import timm
import torch
from documented_edits import edited_package

import biformer_lit
from biformer_lit import load_task, record_routing
from biformer_lit.cli import main, parse_fit

NARROW = {
    "depths": [1, 1],
    "dims": [16, 32],
    "head_dim": 16,
    "stem_stride": 2,
    "regions": 2,
    "topk": [2, "all"],
    "attention": ["bra", "full"],
}
SHARP = """
import json
import timm, torch
from biformer_lit.cli import parse_fit

settings = json.loads(%r)
image = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
logits = []
for more in ({}, {"sharpness": 1.0}, {"sharpness": [8.0, 1.0]}):
    torch.manual_seed(0)
    logits.append(timm.create_model("biformer_tiny", num_classes=3, **settings, **more).eval()(image))
assert torch.equal(logits[0], logits[1]) and not torch.allclose(logits[0], logits[2])
config = parse_fit(["--config", "digits", "--model.backbone.sharpness", "[1,2,2,1]"])
print(json.dumps(config["model"]["init_args"]["backbone"]["sharpness"]))
"""


@pytest.fixture
def example(root, tmp_path, unplugged, monkeypatch):
    """Write the code below a heading into a file of the working folder, as a plug-in that is gone after the test."""
    monkeypatch.chdir(tmp_path)

    def write(heading):
        section = (root / "CONTRIBUTING.md").read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
        (code,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
        path = tmp_path / f"example_{re.sub('[^a-z]+', '_', heading.lower())}.py"
        path.write_text(code)
        return str(path)

    return write


def test_a_task(example, tmp_path):
    path = example("Add a task")
    small = ["--model.backbone.depths=[1,1]", "--model.backbone.dims=[8,16]", "--model.backbone.head_dim=8"]
    small += ["--model.backbone.attention=full", "--model.backbone.full_heads=1", "--model.optim.warmup_epochs=0"]
    quick = ["--trainer.max_epochs=1", "--trainer.limit_train_batches=2", "--trainer.limit_val_batches=1"]
    quick += ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--data.num_workers=0"]
    named = ["--plugin", path, "--model", "NumberTask", "--data", "NumberData", "--data.dataset", "digits"]
    cli = main(["fit", *named, *small, *quick])
    assert 0 < cli.trainer.callback_metrics["val/mae"] < 10
    (checkpoint,) = tmp_path.glob("**/*.ckpt")
    assert type(load_task(checkpoint)).__name__ == "NumberTask"


def network(**settings):
    """A small network whose first stage routes."""
    torch.manual_seed(0)
    return timm.create_model("biformer_tiny", num_classes=3, **{**NARROW, **settings})


@pytest.mark.parametrize("upright", [False, True])
def test_an_attention_pattern(example, upright):
    biformer_lit.load_plugin(example("Add an attention pattern"))
    net = network(attention=["lines", "full"], upright=[upright, False])
    net(torch.randn(2, 3, 32, 32)).sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())
    module = net.stages[0].blocks[0].attn
    q, k, v = (torch.randn(1, 6, 4, module.dim, requires_grad=True) for _ in range(3))
    module.attend(q, k, v)[0, 1, 2].sum().backward()
    expected = torch.zeros(6, 4, dtype=torch.bool)
    expected[(slice(None), 2) if upright else 1] = True
    assert torch.equal(v.grad[0].abs().sum(-1) > 0, expected)
    assert module.cost(6, 4).attention == 2 * 24 * (6 if upright else 4) * module.dim


def test_the_settings_of_a_pattern_are_the_networks(example):
    biformer_lit.load_plugin(example("Add an attention pattern"))
    typed = ["--model.backbone.attention", "[lines,lines,lines,full]"]
    typed += ["--model.backbone.upright", "[true,false,true,false]"]
    config = parse_fit(["--config", "digits", *typed])
    assert config["model"]["init_args"]["backbone"]["upright"] == [True, False, True, False]


@pytest.mark.parametrize("heads", ["shared", "per_head"])
def test_a_routing_rule(example, heads):
    biformer_lit.load_plugin(example("Add a routing rule"))
    chosen = []
    for unlike in (False, True):
        net = network(routing="alike", unlike=unlike, routing_heads=heads)
        with record_routing(net) as records:
            net(torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))).sum().backward()
        chosen.append(records["stages.0.blocks.0.attn"].index)
    both = torch.cat(chosen, -1).sort(-1).values
    assert torch.equal(both, torch.arange(4).expand_as(both))  # two of four regions each, and no region in both


def test_a_setting_of_routed_attention(root, tmp_path):
    package = edited_package(root, tmp_path / "edited", "Add a setting of bi-level routing attention")
    environment = os.environ | {"PYTHONPATH": str(package)}
    run = [sys.executable, "-c", SHARP % json.dumps(NARROW)]
    done = subprocess.run(run, cwd=package, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [1, 2, 2, 1]
    shown = [sys.executable, "-m", "biformer_lit", "profile", "--help"]
    done = subprocess.run(shown, cwd=package, env=environment, capture_output=True, text=True, check=True)
    assert "--backbone.sharpness" in done.stdout
    assert "Further factor on the products" in " ".join(done.stdout.split())
