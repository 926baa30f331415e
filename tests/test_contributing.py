"""The worked examples of CONTRIBUTING.md do what they say, as they are written there."""

import re

import pytest

from biformer_lit import load_task
from biformer_lit.cli import main


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
