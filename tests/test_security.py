"""Files from strangers run no code, name no class that they may not, and fill neither memory nor disk.

``SECURITY.md`` says what is promised; here it is tried. ``tests/fuzz`` tries what nobody thought of.
"""

import html.parser
import importlib.metadata
import io
import json
import os
import pickle
import re
import struct
import subprocess
import sys
import xml.etree.ElementTree as ET
import zipfile
import zlib
from pathlib import Path
from types import SimpleNamespace

import datasets
import pandas as pd
import pytest
import torch
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version
from PIL import Image

from biformer_lit.checkpoints.file_contents import read_contents
from biformer_lit.cli import main, run
from biformer_lit.data import ClassificationDataModule
from biformer_lit.data.images.decoding import MOST_PIXELS, BadImageError, decode_image
from biformer_lit.data.loading import load_splits
from biformer_lit.detection.object_masks import decode_object_mask
from biformer_lit.errors import CheckpointError, ConfigError, DataError
from biformer_lit.recipes import read_config
from biformer_lit.sweep.report.bundle import unpacked
from biformer_lit.sweep.report.write import write_report
from biformer_lit.sweep.spec.study_file import read_yaml
from biformer_lit.sweep.spec.study_spec import StudySpec
from biformer_lit.sweep.trials.study import begin

sys.path.insert(0, str(Path(__file__).parent / "sweep"))

from finished_studies import finished_study


class Code:
    """Whoever unpickles this makes a file."""

    def __reduce__(self):
        return (open, ("ran.txt", "w"))


@pytest.fixture
def refuse(root, tmp_path, monkeypatch, capsys):
    """Run a command line that must end in one line, without running anybody's code; the line."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments):
        tiny = str(root / "tests/configs/tiny.yaml")
        monkeypatch.setattr(sys, "argv", ["biformer_lit", *(tiny if one == "$tiny" else one for one in arguments)])
        with pytest.raises(SystemExit) as stopped:
            run()
        assert stopped.value.code == 2
        said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert len(said) == 1
        assert not (tmp_path / "ran.txt").exists()
        return said[0]

    return command


# -- checkpoints -----------------------------------------------------------------------------------------


def evil(path, kind):
    contents = {"state_dict": Code(), "hyper_parameters": {"_class_path": "x.Y"}, "optimizer_states": []}
    if kind == "pickle":
        path.write_bytes(pickle.dumps(contents))
    else:
        torch.save(contents, path, _use_new_zipfile_serialization=kind == "zip")


@pytest.mark.parametrize("kind", ["pickle", "legacy", "zip"])
@pytest.mark.parametrize("name", ["evil.ckpt", "evil.pth", "evil.safetensors"])
def test_no_kind_of_file_runs_code(tmp_path, monkeypatch, kind, name):
    monkeypatch.chdir(tmp_path)
    evil(tmp_path / name, kind)
    with pytest.raises(CheckpointError):
        read_contents(name)
    assert not (tmp_path / "ran.txt").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        *(f"{command} --config $tiny --ckpt_path evil.ckpt" for command in ("fit", "validate", "test", "predict")),
        "fit --config $tiny --model.weights evil.ckpt",
        "convert evil.ckpt out.safetensors",
        "visualize --checkpoint evil.ckpt --image photo.png --out drawn",
    ],
)
def test_a_checkpoint_runs_no_code_at_any_door(refuse, tmp_path, arguments):
    evil(tmp_path / "evil.ckpt", "zip")
    Image.new("RGB", (64, 64)).save(tmp_path / "photo.png")
    assert "evil.ckpt: holds something else than tensors and plain data" in refuse(*arguments.split())


def test_a_checkpoint_that_lightning_finds_runs_no_code(refuse, tmp_path, monkeypatch):
    """``hpc`` is a file in the folder of the run that nobody has named."""
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")  # a switch of PyTorch's that is left behind somewhere
    (tmp_path / "run").mkdir()
    evil(tmp_path / "run/hpc_ckpt_1.ckpt", "zip")
    line = refuse("fit", "--config", "$tiny", "--ckpt_path", "hpc", "--trainer.default_root_dir", "run")
    assert "holds something else than tensors and plain data" in line


def test_unpickling_cannot_be_asked_for(refuse):
    assert "weights_only=False would run code" in refuse("fit", "--config", "$tiny", "--weights_only", "false")


# -- configs ---------------------------------------------------------------------------------------------

POPEN = "{class_path: subprocess.Popen, init_args: {args: [touch, ran.txt]}}"
DDP = "trainer: {strategy: {class_path: lightning.pytorch.strategies.DDPStrategy, init_args: {%s}}}"
LAMBDA = "trainer: {callbacks: [{class_path: lightning.pytorch.callbacks.LambdaCallback, init_args: {setup: %s}}]}"
MAY_NOT = "that a config may not name|is not a class that a config may name"
CONFIGS = [
    (f"model: {POPEN}", r"model: .*not allowed; expected BiFormerTask"),
    (f"data: {POPEN}", r"data: .*not allowed; expected HFDataModule"),
    *(
        (f"trainer: {{{name}: {POPEN}}}", rf"trainer\.{name}: .*not allowed; expected .*{kind}")
        for name, kind in [("logger", "Logger"), ("strategy", "Strategy"), ("accelerator", "Accelerator")]
    ),
    (f"trainer: {{profiler: {POPEN}}}", r"trainer\.profiler: .*not allowed; expected Profiler"),
    (f"trainer: {{callbacks: [{POPEN}]}}", r"trainer\.callbacks: .*not allowed"),
    (f"trainer: {{plugins: [{POPEN}]}}", r"trainer\.plugins: .*not allowed"),
    ("trainer: {callbacks: [{class_path: os.system, init_args: {command: touch ran.txt}}]}", r"callbacks: .*not allow"),
    # settings whose annotation takes anything
    (DDP % f"ddp_comm_state: {POPEN}", rf"strategy\.init_args\.ddp_comm_state: .*{MAY_NOT}"),
    (DDP % "ddp_comm_hook: os.system", rf"ddp_comm_hook: .*system is a function or class {MAY_NOT}"),
    (LAMBDA % "os.system", rf"setup: .*system is a function or class {MAY_NOT}"),
    (LAMBDA % "builtins.exec", rf"setup: builtins\.exec is a function or class {MAY_NOT}"),
    (LAMBDA % "subprocess.Popen", r"setup: .*(not allowed|may not name)"),
    (LAMBDA % POPEN, r"setup: .*not allowed"),
    (f"model: {{init_args: {{compile: {{backend: {POPEN}}}}}}}", r"compile"),
    ("model: {init_args: {compile: {backend: os.system}}}", r"compile\.backend: 'os.system' is not taken from a file"),
    (f"data: {{dict_kwargs: {{extra: {POPEN}}}}}", r"data\.dict_kwargs.*(there is no such setting|may name)"),
    (f"trainer: {{profiler: {{class_path: PyTorchProfiler, dict_kwargs: {{on_trace_ready: {POPEN}}}}}}}", MAY_NOT),
    # YAML's own ways
    ("seed_everything: !!python/object/apply:os.system ['touch ran.txt']", r"line 1: not YAML .*constructor"),
    ("seed_everything: !!python/name:os.system", r"line 1: not YAML .*constructor"),
    ("seed_everything: ${oc.env:HOME}", r"seed_everything: '\$\{oc\.env:HOME\}' is not allowed"),
    ("trainer: c.yaml", r"loop detected"),
]


@pytest.mark.parametrize(("text", "message"), CONFIGS)
def test_a_config_names_only_what_it_may(refuse, tmp_path, text, message):
    (tmp_path / "c.yaml").write_text(text)
    assert re.search(message, refuse("fit", "--config", "$tiny", "--config", "c.yaml"))


def test_a_hook_of_torch_may_be_named(root, tmp_path, monkeypatch):
    """What is refused is not refused for being a function."""
    monkeypatch.chdir(tmp_path)
    hook = "torch.distributed.algorithms.ddp_comm_hooks.default_hooks.fp16_compress_hook"
    (tmp_path / "c.yaml").write_text(DDP % f"ddp_comm_hook: {hook}")
    tiny = str(root / "tests/configs/tiny.yaml")
    monkeypatch.setattr("biformer_lit.cli.training.BiFormerCLI._run_subcommand", lambda self, name: None)
    cli = main(["fit", "--config", tiny, "--config", "c.yaml"])
    assert cli.trainer.strategy._ddp_comm_hook.__name__ == "fp16_compress_hook"


@pytest.mark.parametrize("setting", [f"trainer.callbacks: [{POPEN}]", "data.class_path: os.system"])
def test_a_study_names_no_more_than_a_config(refuse, tmp_path, setting):
    cells = f"  a: {{{setting}}}\n  b: {{model.backbone.lce: 0}}\n"
    (tmp_path / "s.yaml").write_text(f"question: Q\nbase: digits\nplan: cells\ncells:\n{cells}")
    line = refuse("sweep", "run", "s.yaml", "--dry-run")
    assert re.search(r"not allowed|cells\.a|cell a", line)


LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 8)}]\n" for i in range(1, 12)
)


@pytest.mark.parametrize("read", [lambda path: read_config(str(path)), read_yaml])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LAUGHS, "values once its aliases are written out"),
        ("[" * 5000 + "]" * 5000, "nests more than 50 levels deep"),
        ("{a: " * 3000 + "1" + "}" * 3000, "nests more than 50 levels deep"),
        ("model: &a\n  x: *a\n", "line 2: a value contains itself"),
        ("# " + "x" * 2**20, "too many for settings"),
        ("a: 2020-13-41\n", "month must be in 1..12"),
        (f"a: {'9' * 5000}\n", "4300"),
        ("a: !!python/object/apply:os.system [ls]\n", "constructor"),
        ("? {a: b}\n: 1\n", "unhashable|not YAML"),
    ],
)
def test_yaml_is_measured_before_it_is_read(tmp_path, read, text, message):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        read(path)
    assert str(path) in str(caught.value)


# -- data sets -------------------------------------------------------------------------------------------


def test_a_data_set_runs_no_code(tmp_path, monkeypatch):
    """Scripts, which older versions of ``datasets`` ran, and pickles."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    for name, content in (("script", b"open('ran.txt', 'w')\n"), ("pickles", pickle.dumps(Code()))):
        folder = tmp_path / name
        folder.mkdir()
        (folder / (f"{name}.py" if name == "script" else "train.pkl")).write_bytes(content)
        with pytest.raises(DataError, match="cannot be opened as a data set"):
            load_splits(str(folder))
    assert not (tmp_path / "ran.txt").exists()


@pytest.mark.parametrize("path", ["/dev/zero", "pipe", "."])
def test_a_row_that_names_no_file(tmp_path, monkeypatch, path):
    """A device never ends, and a pipe without a writer never begins."""
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    with pytest.raises(BadImageError, match="is not a file"):
        decode_image({"bytes": None, "path": path}, "here")


@pytest.mark.parametrize("kind", ["EPS", "PSD", "FITS", "ICNS", "PDF"])
def test_formats_that_are_not_read(kind):
    """EPS is a program, which Pillow has another program run."""
    heads = {"EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "PSD": b"8BPS\0\1", "FITS": b"SIMPLE  =   T"}
    with pytest.raises(BadImageError, match="in none of the formats JPEG, PNG"):
        decode_image(heads.get(kind, b"icns\0\0\0\x20" if kind == "ICNS" else b"%PDF-1.4") + bytes(200), "here")


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width, height, *extra, rows=0):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    body = zlib.compress(b"\0" * rows * (1 + 3 * width), 9)
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def saved(kind, size, frames=1, **options):
    buffer = io.BytesIO()
    pictures = [Image.new("L", size, i % 256) for i in range(frames)]
    pictures[0].save(buffer, kind, save_all=frames > 1, append_images=pictures[1:], **options)
    return buffer.getvalue()


def bombs():
    """Small files that claim, or hold, much."""
    packed = zlib.compress(bytes(300_000_000), 9)
    gif = bytearray(saved("GIF", (9, 9)))
    gif[6:10] = struct.pack("<HH", 65535, 65535)
    return {
        "a header of a PNG": png(2**31 - 1, 2**31 - 1),
        "just above the limit": png(10_000, 8_948, rows=0),
        "a PNG of zeros": png(30_000, 30_000, rows=3_000),
        "a text of zeros": png(9, 9, chunk(b"zTXt", b"a\0\0" + packed), rows=9),
        "a colour profile of zeros": png(9, 9, chunk(b"iCCP", b"a\0\0" + packed), rows=9),
        "a header of a GIF": bytes(gif),
        "a header of a BMP": b"BM"
        + struct.pack("<IIIIiiHHIIiiII", 99, 0, 54, 40, 2**30, 2**30, 1, 24, 0, 0, 1, 1, 0, 0),
        "a header of a PPM": b"P6 99999999 99999999 255\n",
        "a TIFF of zeros": saved("TIFF", (60_000, 9_000), compression="tiff_adobe_deflate"),
        "5,000 frames": saved("GIF", (64, 64), 5_000),
    }


_DECODE = """
import resource, sys, warnings
from pathlib import Path
from biformer_lit.data.images.decoding import BadImageError, decode_image
warnings.simplefilter("ignore")
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 700_000_000,) * 2)  # less than one of them would take
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        size = decode_image({"bytes": None, "path": str(path)}, path.name).size
        print(f"{path.name}: {size}")
    except BadImageError as error:
        print(error)
"""


def test_bombs_do_not_fill_the_memory(tmp_path):
    for name, content in bombs().items():
        assert len(content) < 4_000_000
        (tmp_path / name).write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", _DECODE, str(tmp_path)], capture_output=True, text=True, check=True, timeout=300
    )
    lines = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert lines.keys() == bombs().keys()
    assert lines.pop("5,000 frames") == "(64, 64)"  # the first is the image
    text = lines.pop("a text of zeros")
    assert "cannot be read" in text or text == "(9, 9)"
    profile = lines.pop("a colour profile of zeros")
    assert "cannot be read" in profile or profile == "(9, 9)"
    assert all("cannot be read" in line for line in lines.values()), lines
    assert "above the limit" in lines["just above the limit"]
    assert MOST_PIXELS == 89_478_485


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ({"counts": b"o" * 1_000_000, "size": [8, 8]}, "run lengths"),  # a number of five million bits
        ([[0.0, 0.0, 80.0, 80.0] * 30_000], "outline of the mask is longer"),
        ([[0.0, 0.0, 1e9, 0.0, 0.0, 1e9]], "polygon reaches"),
    ],
)
def test_masks_that_would_take_for_ever(mask, message):
    with pytest.raises(DataError, match=message):
        decode_object_mask(mask, (8, 8) if isinstance(mask, dict) else (4_000, 4_000), False, "here")


# -- bundles and reports ---------------------------------------------------------------------------------


def test_bundles_that_unpack_badly(tmp_path):
    double = tmp_path / "double.zip"
    with zipfile.ZipFile(double, "w") as archive:
        archive.writestr("study/study.yaml", "a")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("study/study.yaml", "b")
    clash = tmp_path / "clash.zip"
    with zipfile.ZipFile(clash, "w") as archive:
        archive.writestr("study/a", "a")
        archive.writestr("study/a/b", "b")
    nameless = tmp_path / "nameless.zip"
    with zipfile.ZipFile(nameless, "w") as archive:
        archive.writestr(".", "a")
    for path in (double, clash, nameless):
        with pytest.raises(ConfigError, match=path.name), unpacked(path):
            pass


BAD = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'`{{7*7}}$\\input{x}|[a](javascript:b)"


class Tags(html.parser.HTMLParser):
    """The tags and the attributes of a page, and what its scripts hold."""

    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.scripts = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data):
        if self.tags and self.tags[-1] == "script" and self.lasttag == "script":
            self.scripts[-1] += data


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """The report of a study whose every text is hostile."""
    folder = finished_study(
        tmp_path_factory.mktemp("hostile") / "study",
        question=BAD,
        factors={"k": {"key": "model.backbone.topk", "values": {"one": 1, "two": 2}}},
        baseline={"k": "one"},
        seeds=[0, 1],
        failed=[("k=two", 1)],
    )
    with pytest.raises(SystemExit):  # with status 1, as a trial is not complete
        main(["sweep", "export", str(folder)])
    frame = pd.read_parquet(folder / "results.parquet")
    for name in ("cell", "factor:k", "reason", "host", "git_commit", "device"):
        frame[name] = [f"{text}{BAD}" if isinstance(text, str) else text for text in frame[name]]
    frame = frame.rename(columns={"version:torch": f"version:{BAD}"})
    frame.to_parquet(folder / "results.parquet")
    write_report(folder, folder / "report", lambda line: None)
    return folder / "report"


def test_a_hostile_page_is_text(hostile):
    text = (hostile / "report.html").read_text()
    page = Tags()
    page.feed(text)
    assert page.tags.count("script") == 3
    assert "img" not in page.tags
    assert not [name for name in page.attributes if name.startswith("on")]
    assert "{{7*7}}" in html.unescape(text)
    charts = json.loads(page.scripts[0])
    assert BAD in json.dumps(charts).encode().decode("unicode_escape")
    assert "</script><script>alert(1)" not in text


def test_hostile_pictures_are_pictures(hostile):
    drawn = list((hostile / "figures").glob("*.svg"))
    assert drawn
    for path in drawn:
        elements = list(ET.parse(path).iter())  # noqa: S314 (made here)
        names = {element.tag.rpartition("}")[2] for element in elements}
        assert not names & {"script", "foreignObject", "image", "a"}, path
        assert "onerror" not in {name for element in elements for name in element.attrib}


def test_hostile_tables_are_tables(hostile):
    markdown = (hostile / "report.md").read_text()
    assert "<script" not in markdown
    assert "<img" not in markdown
    latex = (hostile / "table.tex").read_text()
    assert "\\input" not in latex
    table = pd.read_csv(hostile / "table.csv")
    assert list(table["cell"]) == [f"k=one{BAD}", f"k=two{BAD}"]


def test_a_name_in_the_results_leads_nowhere_else(tmp_path):
    """A cell's name is part of a path; one that leads out of the study must not bring a stranger's file in."""
    folder = finished_study(
        tmp_path / "study",
        factors={"k": {"key": "model.backbone.topk", "values": {"one": 1, "two": 2}}},
        baseline={"k": "one"},
    )
    main(["sweep", "export", str(folder)])
    secret = tmp_path / f"secret-{'0' * 12}" / "seed-0"
    secret.mkdir(parents=True)
    (secret / "config.yaml").write_text("password: hunter2\n")
    frame = pd.read_parquet(folder / "results.parquet")
    frame["cell"] = frame["cell"].replace({"k=one": "../../secret"})
    frame["digest"] = "0" * 12
    frame.to_parquet(folder / "results.parquet")
    write_report(folder, folder / "report", lambda line: None)
    assert "hunter2" not in (folder / "report/report.html").read_text()


def test_a_question_is_no_setting(tmp_path):
    """The question stands on top of the study file that a run writes, as a comment."""
    question = "Which?\nname: other\nseeds: [1, 2, 3]"
    spec = StudySpec("s", question, ("digits",), "cells", cells={"a": {"model.backbone.lce": 0}})

    class Ledger:
        def attribute(self, name):
            return None

        def note(self, name, text):
            pass

    begin(spec, tmp_path / "study", Ledger(), {}, SimpleNamespace(note=lambda resolved: None), extend=False)
    assert read_yaml(tmp_path / "study/study.yaml")["name"] == "s"


# -- advisories ------------------------------------------------------------------------------------------


def advisories(root):
    """Package, identifier and affected versions of each row of the table."""
    rows = re.findall(
        r"^\| (\w[\w.-]*) \| ([A-Z]+-[\w-]+) \| `([^`]+)` \|", (root / "SECURITY.md").read_text(), re.MULTILINE
    )
    return [
        (name, identifier, [SpecifierSet(one) for one in ranges.split(" or ")]) for name, identifier, ranges in rows
    ]


def bounds(root):
    listed = (root / "pyproject.toml").read_text().partition("\ndependencies = [")[2].partition("\n]")[0]
    return {one.name: one.specifier for one in map(Requirement, re.findall(r'^  "([^"]+)"', listed, re.MULTILINE))}


def lowest(specifier):
    return [one.version for one in specifier if one.operator in (">=", "==")]


def test_the_table_is_read(root):
    found = advisories(root)
    assert len(found) > 20
    assert {"torch", "lightning", "pillow", "jinja2", "pyarrow", "scikit-learn"} <= {name for name, _, _ in found}


def test_no_bound_lets_an_affected_version_in(root):
    """Two ranges have a version in common only if the lowest version of one of them is in both."""
    allowed = bounds(root)
    for name, identifier, affected in advisories(root):
        for versions in affected if name in allowed else ():
            for version in ("0", *lowest(versions), *lowest(allowed[name])):
                both = versions.contains(version, prereleases=True) and allowed[name].contains(
                    version, prereleases=True
                )
                assert not both, f"{name} {version} is affected by {identifier}"


def test_nothing_affected_is_installed(root):
    """Dependencies of dependencies too, which have no bound of ours."""
    for name, identifier, affected in advisories(root):
        try:
            version = Version(importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            continue
        assert not any(one.contains(version, prereleases=True) for one in affected), f"{name} {version}: {identifier}"


def test_the_bounds_test_can_fail():
    assert SpecifierSet("<2.6").contains("2.5")
    assert lowest(SpecifierSet(">=10.3.0,<12.1.1")) == ["10.3.0"]


def test_images_of_a_set_are_bounded(tmp_path, monkeypatch):
    """As a whole: a bomb in a data set is skipped where that was asked for, and named where not."""
    good = {"bytes": saved("PNG", (8, 8)), "path": None}
    bomb = {"bytes": png(2**31 - 1, 2**31 - 1), "path": None}
    table = datasets.Dataset.from_dict({"image": [good, bomb, good, good] * 4, "label": [0, 1] * 8})
    table = table.cast_column("image", datasets.Image())
    monkeypatch.setattr("biformer_lit.data.data_module.load_splits", lambda *_, **__: {"train": table, "test": table})
    for kind, count in (("skip", 12), ("error", None)):
        data = ClassificationDataModule(
            dataset="x", image_size=8, batch_size=4, num_workers=0, on_bad_image=kind, num_classes=2, val_fraction=0.25
        )
        data.setup("test")
        if count is None:
            with pytest.raises(DataError, match=r"row 1: .*above the limit|row 1: .*bomb"):
                list(data.test_dataloader())
        else:
            batches = list(data.test_dataloader())
            assert sum(len(batch["label"]) for batch in batches) == count
