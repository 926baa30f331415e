"""The documentation lists the settings as they are declared, and its examples of patterns and rules run."""

import re
import runpy

import pytest
import torch

from biformer_lit import Backbone

SMALL = {"depths": [1, 1], "dims": [32, 64], "head_dim": 16, "topk": 2, "regions": [3, 4]}


def test_the_page_is_up_to_date(root):
    script = runpy.run_path(str(root / "scripts/document_settings.py"))
    page = (root / "docs/model.md").read_text()
    assert script["written"](page) == page, "run python scripts/document_settings.py"
    for name in set(Backbone.__dataclass_fields__) - {"name", "in_chans"}:
        assert f"\n- `{name}` (" in page


@pytest.mark.parametrize(
    ("heading", "settings"),
    [
        ("Attention patterns", {"attention": "rows", "row_height": [2, 1]}),
        ("Routing rules", {"attention": "bra", "routing": "nearest_key", "distance_power": 1.0}),
    ],
)
def test_the_examples_run(root, unplugged, tmp_path, heading, settings):
    section = (root / "docs/extending.md").read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    (tmp_path / "example.py").write_text(code)
    runpy.run_path(str(tmp_path / "example.py"))
    net = Backbone(**SMALL, **settings).build(3)
    out = net(torch.randn(2, 3, 53, 70))
    out.square().sum().backward()
    assert all(p.grad.isfinite().all() for p in net.parameters())
