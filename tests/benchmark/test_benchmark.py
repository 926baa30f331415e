"""The benchmarks measure what they say, with turns, ratios and memory of each variant."""

import json
import time

import numpy as np
import pytest
import torch

from biformer_lit.benchmark import bench_attention, bench_data, bench_model, bench_train, retune
from biformer_lit.benchmark.data import make_images, read_draft, read_pillow, store
from biformer_lit.benchmark.memory import measure_memory
from biformer_lit.benchmark.results import describe_machine
from biformer_lit.benchmark.retune import best_share
from biformer_lit.benchmark.roofline import measure_roofline
from biformer_lit.benchmark.turns import time_in_turns
from biformer_lit.errors import ConfigError
from biformer_lit.ops.auto import TABLE

CPU = torch.device("cpu")
SMALL = {"size": 32, "regions": 2, "batch_size": 1, "rounds": 2}


def test_turns_are_taken_and_ratios_are_of_neighbours(monkeypatch):
    """A clock that runs slower and slower changes the times, not the ratios."""
    now, speed, order = [0.0], [1.0], []
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def call(name, cost):
        def run():
            order.append(name)
            now[0] += cost * speed[0]
            if name == "b":
                speed[0] *= 1.2

        return run

    slow, fast = time_in_turns({"a": call("a", 2.0), "b": call("b", 1.0)}, CPU, rounds=5, seconds=0.1)
    assert "".join(order[-10:]) == "ab" * 5
    assert (slow.ratio, slow.lowest, slow.highest) == (1, 1, 1)
    assert fast.ratio == pytest.approx(0.5)
    assert fast.lowest == pytest.approx(fast.highest)
    assert fast.seconds > 1.2


def allocate(megabytes):
    def call():
        return torch.ones(megabytes * 2**18).sum()

    return call


def test_memory_is_the_peak_of_the_call_alone():
    assert measure_memory(allocate, 200, device=CPU) == pytest.approx(200 * 2**20, rel=0.1)


def test_a_process_that_dies_is_reported():
    with pytest.raises(ConfigError, match=r"the process that measured the memory died"):
        measure_memory(allocate, "much", device=CPU)


def test_the_roofline_is_positive():
    roofline = measure_roofline(CPU, torch.float32, size=64)
    assert roofline.matmul > 0
    assert roofline.copy > 0


def test_the_machine_is_described(monkeypatch):
    monkeypatch.setenv("MALLOC_MMAP_MAX_", "0")
    text = describe_machine(CPU)
    assert torch.__version__ in text
    assert text.endswith("MALLOC_MMAP_MAX_=0")


def test_attention_writes_what_it_prints(tmp_path, capsys):
    out = tmp_path / "attention"
    bench_attention(**SMALL, dims=[32, 32], topk=[1, 2], variants=["reference", "auto"], out=str(out))
    content = json.loads(out.with_suffix(".json").read_text())
    assert [case["name"] for case in content["cases"]] == ["stage 1: 8 x 8 x 32, top-1", "stage 2: 4 x 4 x 32, top-2"]
    for case in content["cases"]:
        assert [c["variant"] for c in case["comparisons"]] == ["reference", "auto"]
        assert case["comparisons"][0]["ratio"] == 1
        assert all(c["memory"] is not None for c in case["comparisons"])
    assert out.with_suffix(".md").read_text().count("| stage 1") == 2
    assert "reference" in capsys.readouterr().out


class Other(torch.nn.Module):
    """Stands for somebody else's implementation."""

    def __init__(self, dim, heads, topk, regions):
        super().__init__()
        self.layer = torch.nn.Linear(dim, dim)

    def forward(self, x):
        return self.layer(x)


def other_model(num_classes):
    return torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, num_classes))


def test_somebody_else_s_attention_is_the_baseline(tmp_path):
    out = tmp_path / "a"
    bench_attention(
        **SMALL, dims=[32], topk=[1], variants=["auto"], against=f"{__name__}:Other", memory=False, train=False,
        dtype="bfloat16", out=str(out),
    )  # fmt: skip
    comparisons = json.loads(out.with_suffix(".json").read_text())["cases"][0]["comparisons"]
    assert [c["variant"] for c in comparisons] == ["against", "auto"]
    assert comparisons[1]["ratio"] > 1


@pytest.mark.parametrize("bench", [bench_model, bench_train])
def test_networks(bench, tmp_path):
    out = tmp_path / "m"
    bench(
        variants=["biformer_tiny:reference", "biformer_tiny", "resnet18"], against=f"{__name__}:other_model", size=224,
        batch_size=1, rounds=1, memory=False, out=str(out),
    )  # fmt: skip
    case = json.loads(out.with_suffix(".json").read_text())["cases"][0]
    assert [c["variant"] for c in case["comparisons"]] == [
        "against", "biformer_tiny:reference", "biformer_tiny", "resnet18",
    ]  # fmt: skip
    passes = 1 if bench is bench_model else 3
    assert case["macs"]["biformer_tiny"] == case["macs"]["biformer_tiny:reference"]
    assert round(case["macs"]["biformer_tiny"] / passes / 1e9, 1) == 2.2
    assert "against" not in case["macs"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"variants": ["cuda"]}, r"variants: 'cuda' is not a backend; choose from auto, reference"),
        ({"variants": ["auto", "auto"]}, r"variants: one is named twice"),
        ({"dims": [32], "topk": [1, 2]}, r"must have one entry for each stage"),
        ({"dims": [40], "topk": [1]}, r"dims=\[40\] must be multiples of 32"),
        ({"rounds": 0}, r"rounds=0 must be at least 1"),
        ({"device": "tpu"}, r"device='tpu' is not there; use cpu"),
        ({"against": "nothing"}, r"against='nothing' must be module:callable"),
        ({"against": "no_such_module:f"}, r"No module named 'no_such_module'; put its folder into PYTHONPATH"),
        ({"against": "json:nothing"}, r"json has no nothing; name a function of it"),
        ({"against": "json:__name__"}, r"__name__ cannot be called"),
        ({"out": "/no/such/folder/x"}, r"the folder /no/such/folder does not exist; make it first"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        bench_attention(**settings)


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "x.md").write_text("mine")
    with pytest.raises(ConfigError, match=r"x\.md exists already; remove it or choose another name"):
        bench_attention(out=str(tmp_path / "x"))
    assert (tmp_path / "x.md").read_text() == "mine"


@pytest.mark.parametrize(
    ("variants", "message"),
    [
        (["resnet19"], r"variants: 'resnet19' is not a model of timm"),
        (["biformer_tiny:fast"], r"variants: 'fast' is not a backend"),
        (["biformer_tiny+fast"], r"'\+fast' is unknown; use \+fold or \+compile"),
        (["resnet18+fold"], r"only our own models fold"),
        (["resnet18", "resnet18"], r"variants: one is named twice"),
    ],
)
def test_unknown_models_are_refused(variants, message):
    with pytest.raises(ConfigError, match=message):
        bench_model(variants=variants)


def test_the_share_that_explains_the_most_measurements():
    assert best_share([(0.1, 2.0), (0.2, 1.5), (0.3, 0.5), (0.6, 0.2)]) == 0.25
    assert best_share([(0.1, 2.0), (0.2, 0.9), (0.3, 1.5), (0.6, 1.2)]) == 1.0
    assert best_share([(0.1, 0.5), (0.3, 0.5)]) == 0.2


def test_retuning_writes_the_rows_of_this_device(tmp_path, monkeypatch, capsys):
    table = tmp_path / "auto.json"
    monkeypatch.setattr(retune, "FILE", table)
    monkeypatch.setattr(retune, "SHAPES", [(8, 4, 1), (8, 4, 8)])
    bench_attention(retune=True, rounds=1, device="cpu")
    written = json.loads(table.read_text())
    assert written["cuda"] == TABLE["cuda"]
    assert set(written["cpu"]) == {"float32", "bfloat16"}
    for row in written["cpu"].values():
        assert row["gather"] in retune.WAYS["gather"]
        assert row["dense"] in retune.WAYS["dense"]
        assert 0 < row["dense_share"] <= 1
    assert "dense_share" in capsys.readouterr().out


def test_the_data_benchmark_compares_loading_with_a_step(tmp_path, capsys):
    size = {"width": 40, "height": 32, "batch_size": 2, "rounds": 2}
    bench_data(recipe="cifar10", **size, out=str(tmp_path / "data"))
    written = json.loads((tmp_path / "data.json").read_text())
    assert [[c["variant"] for c in case["comparisons"]] for case in written["cases"]] == [
        ["step", "training", "evaluation"],
        ["pillow", "draft"],
    ]
    assert all(c["seconds"] > 0 for case in written["cases"] for c in case["comparisons"])
    assert "training: " in capsys.readouterr().out
    with pytest.raises(ConfigError, match=r"recipe=camvid is no recipe for classification; choose from cifar10, "):
        bench_data(recipe="camvid")


def test_pictures_are_stored_as_asked_and_draft_reads_fewer_pixels():
    images = make_images(2, 400, 300, None)
    (value, _), (png, _) = store(images, 90), store(images, 0)
    assert np.array_equal(np.asarray(read_pillow(png)), np.asarray(images[0]))
    assert read_pillow(value).size == (400, 300)
    assert read_draft(value, 100).size == (200, 150)
