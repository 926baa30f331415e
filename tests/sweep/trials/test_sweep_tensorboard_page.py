"""A study as TensorBoard's own pages show it, in a browser."""

# ruff: noqa: S310 (the server is ours)

import contextlib
import json
import subprocess
import sys
import time
import urllib.request

import pytest
import yaml
from studies import study, sweep, wait_for
from tensorboards import update

from biformer_lit.cli import main
from biformer_lit.sweep.trials import summaries

FACTORS = {
    "width": {"key": "fake.width", "values": [16, 32]},
    "gate": {"key": "fake.gate", "values": [True, False]},
}


@contextlib.contextmanager
def serving(folder, log, *arguments):
    """A TensorBoard of a study; its address."""
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder / "cells"), "--host", "127.0.0.1"]
    with log.open("w") as file:
        server = subprocess.Popen([*command, "--port", "0", *arguments], stdout=file, stderr=subprocess.STDOUT)
    try:
        said = wait_for(
            lambda: [line for line in log.read_text().splitlines() if " at http://" in line], "for a server"
        )
        address = said[0].partition(" at ")[2].split("/ ")[0]
        trials = len(list(folder.glob("cells/*/seed-*")))
        wait_for(lambda: len(asked(f"{address}/data/runs")) == trials + 1, "for the runs")
        yield address
    finally:
        server.terminate()
        server.wait()


def asked(address, **values):
    """What the server answers."""
    data = json.dumps(values).encode() if values else None
    request = urllib.request.Request(address, data=data, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A study of four cells, one of which failed, with curves as trainers log them; its folder."""
    root = tmp_path_factory.mktemp("page")
    factors = {
        name: {str(value).lower(): {entry["key"]: value} for value in entry["values"]}
        for name, entry in FACTORS.items()
    }
    factors["width"]["32"]["fake.fail"] = "nan"
    factors["width"] |= {"64": {"fake.width": 64}}
    path = study(root, factors=factors, baseline={"width": "16", "gate": "true"}, plan="one_at_a_time")
    folder = root / "study"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FAKE_ROOT", str(root))
        assert sweep("run", path, "--folder", folder) == 1
    for trial in folder.glob("cells/*/seed-0"):
        if (trial / "result.json").exists():
            value = json.loads((trial / "result.json").read_text())["objective"]["value"]
            course = [
                pair
                for epoch in (1, 2, 3)
                for pair in summaries.scalars(
                    10 * epoch - 1,
                    {"val/acc1": value * epoch / 3, "train/loss": 2 - epoch / 3, "val/loss": 2.2 - epoch / 3},
                )
            ]
            name = f"events.out.tfevents.{int(time.time())}.host.1.0"
            summaries.write_events(trial / name, course, "logged")
    table = (
        "| cell | val/acc1 | claim |\n|---|---:|---|\n| baseline | 0.8000 | baseline |\n| gate=false | 0.9 | better |\n"
    )
    update(folder, table)
    return folder


@pytest.fixture(scope="module", params=["auto", "false"])
def server(request, finished, tmp_path_factory):
    """With each of TensorBoard's two ways to load files."""
    log = tmp_path_factory.mktemp("server") / "log"
    with serving(finished, log, "--load_fast", request.param) as address:
        yield address


@pytest.fixture
def page(browser):
    shown = browser.new_page(viewport={"width": 1600, "height": 1000})
    yield shown
    shown.close()


def test_the_table_of_trials(server, page, finished):
    page.goto(f"{server}/#hparams")
    page.get_by_text("baseline-", exact=False).first.wait_for()
    texts = [text.strip() for text in page.locator("vaadin-grid-cell-content").all_inner_texts() if text.strip()]
    header = ["Trial ID", "Show Metrics", "gate", "width", "cell", "seed", "objective: val/acc1, best epoch"]
    assert texts[: len(header)] == header
    for path in finished.glob("cells/*/seed-0/result.json"):
        key = str(path.parent.relative_to(finished / "cells"))
        config = yaml.safe_load((path.parent / "config.yaml").read_text())["fake"]
        value = json.loads(path.read_text())["objective"]["value"]
        row = texts[texts.index(key) :][1:7]
        assert row[0] == str(config["gate"]).lower()
        assert float(row[1]) == config["width"]
        assert float(row[3]) == 0
        assert float(row[4]) == pytest.approx(value, rel=1e-4)
        assert float(row[5]) == pytest.approx(value, rel=1e-4)  # at the last epoch
    for label in ("true", "false", "16", "32", "64"):  # what rows can be chosen by
        assert page.locator("tf-hparams-query-pane").get_by_text(label, exact=True).count() >= 1


def test_how_the_trials_ended(server, finished):
    statuses = ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"]
    request = {"allowedStatuses": statuses, "colParams": [], "startIndex": 0, "sliceSize": 100}
    groups = asked(f"{server}/data/plugin/hparams/session_groups", **request)["sessionGroups"]
    ended = {group["name"].split("-")[0]: group["sessions"][0]["status"] for group in groups}
    assert ended == {
        "baseline": "STATUS_SUCCESS",
        "gate=false": "STATUS_SUCCESS",
        "width=32": "STATUS_FAILURE",
        "width=64": "STATUS_SUCCESS",
    }


def test_curves_side_by_side(server, page):
    page.goto(f"{server}/#custom_scalars")
    charts = page.locator("tf-custom-scalar-multi-line-chart-card")
    charts.nth(7).wait_for()
    for title in ("val/acc1, and where the objective was taken", "train loss", "images/s in training"):
        assert page.get_by_text(title, exact=True).count() == 1
    # three trials that were trained, each with its curve and the point that counts
    page.get_by_text("Matches (6)").first.wait_for()
    wait_for(lambda: charts.nth(1).locator("path.line").count() >= 3, "for curves")


def test_the_answer_above_all_other_text(server, page):
    page.goto(f"{server}/#text")
    table = page.locator("table").first
    table.wait_for()
    rows = [text.split("\t") for text in table.locator("tr").all_inner_texts()]
    assert rows == [
        ["cell", "val/acc1", "claim"],
        ["baseline", "0.8000", "baseline"],
        ["gate=false", "0.9", "better"],
    ]
    assert page.get_by_text("study: Does it work?").is_visible()


@pytest.mark.slow
def test_routing_maps(browser, page, tmp_path):
    """Of a study that was really trained, on the embedded digits."""
    contents = {
        "question": "Content or chance?",
        "base": "digits",
        "plan": "factorial",
        "factors": {"routing": {"key": "model.backbone.routing", "values": ["topk", "random"]}},
        "budget": {"epochs": 1},
        "set": {"trainer.limit_train_batches": 2, "trainer.limit_val_batches": 1, "trainer.log_every_n_steps": 1},
    }
    (tmp_path / "choice.yaml").write_text(yaml.safe_dump(contents))
    folder = tmp_path / "choice"
    main(["sweep", "run", str(tmp_path / "choice.yaml"), "--folder", str(folder)])
    update(folder, "| cell |\n|---|\n| routing=topk |\n")
    with serving(folder, tmp_path / "log") as address:
        page.goto(f"{address}/#images")
        page.get_by_text("routing/maps").first.wait_for()
        maps = page.locator("tf-image-loader", has_text="routing/maps")
        wait_for(lambda: maps.locator("img").count() == 2, "for two images")
        sizes = [
            image.evaluate("image => image.decode().then(() => image.naturalWidth)")
            for image in maps.locator("img").all()
        ]
        assert min(sizes) > 100
        page.goto(f"{address}/#custom_scalars")
        page.reload()
        page.get_by_text("Matches (4)").first.wait_for()  # each trial's accuracy, and the point that counts
