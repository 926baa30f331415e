"""Folders from strangers: only files inside them are read, nothing is fetched, and nothing hangs."""

import json
import os
import socket
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from biformer_lit.data import ClassificationDataModule
from biformer_lit.data.images.decoding import BadImageError, decode_image
from biformer_lit.data.loading import load_splits
from biformer_lit.dense.masks import decode_mask, read_id2label
from biformer_lit.errors import DataError
from biformer_lit.routing.photo import read_photo


@pytest.fixture(autouse=True)
def _no_sockets(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a request was made")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(autouse=True, params=[False], ids=["online"])
def _offline(request, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", request.param)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", request.param)


@pytest.fixture
def secret(tmp_path):
    """Files that are none of the data set's."""
    (outside := tmp_path / "secret").mkdir()
    Image.new("RGB", (8, 8), (200, 0, 0)).save(outside / "a.png")
    (outside / "names.json").write_text('{"0": "secret"}')
    return outside


@pytest.fixture
def folder(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(6):
            Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / "data" / name / f"{number}.png")
    return tmp_path / "data"


def read_all(folder, **settings):
    data = ClassificationDataModule(dataset=str(folder), batch_size=2, image_size=8, num_workers=0, **settings)
    data.setup("predict")
    return [index for batch in data.predict_dataloader() for index in batch["index"].tolist()]


ADDRESSES = [
    "http://localhost:9/x.parquet",
    "https://example.org/*.jpg",
    "hf://datasets/someone/something/train.parquet",
    "s3://bucket/x.parquet",
    "zip://*.jpg::http://localhost:9/x.zip",
    "zip://a.png::x.zip",
    "file:///etc/passwd",
    "memory://x",
    "/etc/passwd",
    "../secret/a.png",
    "cat/../../secret/*",
    "~/.ssh/id_rsa",
    "\\\\host\\share\\x",
    "C:\\x.parquet",
    "..\\secret\\a.png",
]


def refuse_card(folder, entry, streaming):
    (folder / "README.md").write_text(f"---\nconfigs:\n- {json.dumps({'config_name': 'default', **entry})}\n---\n")
    with pytest.raises(DataError, match=r"README\.md: .* leads out of the folder; only files inside it are read"):
        load_splits(str(folder), streaming=streaming)


@pytest.mark.parametrize("_offline", [True, False], indirect=True)
@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("name", ADDRESSES)
def test_a_card_names_files_elsewhere(folder, secret, name, streaming):
    refuse_card(folder, {"data_files": [{"split": "train", "path": name}]}, streaming)


@pytest.mark.parametrize("name", ["https://example.org/*.jpg", "../secret/a.png"])
def test_a_card_in_any_form(folder, secret, name):
    for files in (name, ["cat/*", name], {"train": "cat/*", "test": [name]}):
        refuse_card(folder, {"data_files": files}, False)
    refuse_card(folder, {"data_dir": name}, False)


@pytest.mark.parametrize(
    "head",
    [
        "builder_name: csv\ndata_files: http://localhost:9/x",
        "dataset_info:\n  builder_name: webdataset\n  download_checksums: {'http://localhost:9/x': {}}",
        "configs:\n- config_name: default\n  builder: json\n  module_path: os\n  data_files: cat/*",
        "configs: 7",
        "configs:\n- config_name: default\n  data_files: 'cat/[0-'",
        "viewer: http://localhost:9",
    ],
)
def test_other_words_of_a_card_start_nothing(folder, head):
    (folder / "README.md").write_text(f"---\n{head}\n---\n")
    (folder / ".huggingface.yaml").write_text("configs:\n- config_name: default\n  data_files: http://localhost:9/x\n")
    (folder / "dataset_infos.json").write_text('{"default": {"download_checksums": {"http://localhost:9/x": {}}}}')
    (folder / "data.py").write_text("raise SystemExit(7)")
    if "[0-" in head:  # no pattern, and no file is called so
        with pytest.raises(DataError, match=r"no file of the folder is one of those of its split 'train'"):
            read_all(folder)
    else:
        assert len(read_all(folder)) in {6, 12}


@pytest.mark.parametrize(
    "card", ["a: &a [x]\nb: [*a, *a]\n" * 9, "x: !!python/object/apply:os.getcwd []", "{" * 9000, "\x00"]
)
def test_a_card_that_is_no_yaml(folder, card):
    (folder / "README.md").write_text(f"---\n{card}\n---\n")
    with pytest.raises(DataError, match=r"README\.md: its head is not YAML") as caught:
        load_splits(str(folder))
    assert len(str(caught.value)) < 800


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("kind", ["jsonl", "csv"])
@pytest.mark.parametrize(
    "name",
    [
        "http://localhost:9/a.png",
        "hf://datasets/x/y/a.png",
        "/etc/passwd",
        "../secret/a.png",
        "cat/../../secret/a.png",
        "file:///etc/passwd",
    ],
)
def test_metadata_names_files_elsewhere(folder, secret, name, kind, streaming):
    rows = [{"file_name": "cat/1.png", "label": 0}, {"file_name": name, "label": 1}]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if kind == "csv":
        text = "file_name,label\n" + "".join(f"{row['file_name']},{row['label']}\n" for row in rows)
    (folder / f"metadata.{kind}").write_text(text)
    with pytest.raises(DataError, match=rf"metadata\.{kind}, row 1: .*(lies outside|is an address)"):
        load_splits(str(folder), streaming=streaming)


def test_metadata_names_a_mask_elsewhere(folder, secret):
    row = {"file_name": "cat/1.png", "objects": [{"mask_file_name": "../secret/a.png"}]}
    (folder / "metadata.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(DataError, match=r"row 0: '\.\./secret/a\.png' lies outside"):
        load_splits(str(folder))


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(
    "name", ["../secret/a.png", "/etc/passwd", "http://localhost:9/a.png", "zip://a::http://localhost:9/b", "a\0b"]
)
def test_rows_name_files_elsewhere(tmp_path, secret, name, streaming):
    (folder := tmp_path / "rows").mkdir()
    image = pa.array([{"bytes": None, "path": name}], pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    pq.write_table(pa.table({"image": image, "label": [0]}), folder / "train.parquet")
    with pytest.raises(DataError, match=r"row 0 .*(lies outside|is an address|is not the name)"):
        read_all(folder, streaming=streaming, on_bad_image="skip")


@pytest.mark.parametrize("streaming", [False, True])
def test_rows_name_files_inside_or_in_a_trusted_folder(tmp_path, secret, streaming):
    (folder := tmp_path / "rows").mkdir()
    Image.new("RGB", (8, 8)).save(folder / "in.png")
    (folder / "in.png").rename(folder / "in.dat")
    paths = ["in.dat", str(folder / "in.dat"), "../secret/a.png"]
    image = pa.array(
        [{"bytes": None, "path": path} for path in paths], pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    )
    pq.write_table(pa.table({"image": image}), folder / "train.parquet")
    with pytest.raises(DataError, match=r"row 2 .*set data\.init_args\.files_root"):
        read_all(folder, streaming=streaming)
    assert len(read_all(folder, streaming=streaming, files_root=str(secret))) == 3
    with pytest.raises(DataError, match=r"files_root: .* is not a folder"):
        read_all(folder, files_root=str(tmp_path / "gone"))


@pytest.mark.parametrize("place", ["cat/x.png", "x.parquet", "metadata.jsonl", "bird"])
def test_links_lead_out(folder, secret, place):
    target = secret if place == "bird" else secret / "a.png"
    (folder / place).symlink_to(target)
    with pytest.raises(DataError, match=r"link.* lead.? out of .*set data\.init_args\.files_root"):
        load_splits(str(folder))


def test_links_in_a_trusted_folder_and_inside(folder, secret):
    (folder / "cat/x.png").symlink_to(secret / "a.png")
    (folder / "dog/y.png").symlink_to(folder / "cat/0.png")
    (folder / "dog/loop").symlink_to(folder)
    (folder / "README.md").symlink_to(secret / "gone")
    assert len(read_all(folder, files_root=str(secret))) == 14


def test_a_link_that_is_changed_after_it_was_looked_at(folder, secret):
    data = ClassificationDataModule(dataset=str(folder), batch_size=2, image_size=8, num_workers=0)
    data.setup("predict")
    (folder / "cat/3.png").unlink()
    (folder / "cat/3.png").symlink_to(secret / "a.png")
    with pytest.raises(DataError, match=r"row 3 .* lies outside"):
        list(data.predict_dataloader())


def test_what_was_downloaded_from_the_hub_is_links(tmp_path):
    blobs, snapshot = tmp_path / "datasets--x/blobs", tmp_path / "datasets--x/snapshots/abc"
    for place in (blobs, snapshot / "cat"):
        place.mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(blobs / "1.png")
    (blobs / "1.png").rename(blobs / "f00d")
    (snapshot / "cat/1.png").symlink_to("../../../blobs/f00d")
    assert len(read_all(snapshot)) == 1


@pytest.mark.parametrize("field", ["filename", "splits"])
def test_saved_tables_elsewhere(make_table, tmp_path, field):
    datasets.DatasetDict({"train": make_table(3)}).save_to_disk(tmp_path / "other")
    datasets.DatasetDict({"train": make_table(3)}).save_to_disk(tmp_path / "data")
    path = tmp_path / "data" / ("dataset_dict.json" if field == "splits" else "train/state.json")
    content = json.loads(path.read_text())
    if field == "splits":
        content["splits"] = ["../other/train"]
    else:
        content["_data_files"][0]["filename"] = "../../other/train/data-00000-of-00001.arrow"
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="lies outside"):
        load_splits(str(tmp_path / "data"))


@pytest.mark.parametrize("content", ["[]", "{", "7", '{"splits": 3}', '{"splits": ["gone"]}', "[" * 100_000])
def test_saved_descriptions_that_do_not_fit(tmp_path, content):
    (tmp_path / "dataset_dict.json").write_text(content)
    with pytest.raises(DataError, match=r"dataset_dict\.json|gone") as caught:
        load_splits(str(tmp_path))
    assert len(str(caught.value)) < 600


def test_names_of_classes_elsewhere(folder, secret):
    (folder / "id2label.json").symlink_to(secret / "names.json")
    with pytest.raises(DataError, match="lies outside"):
        read_id2label(str(folder), 255)


SPECIAL = [
    "/dev/zero",
    "/dev/random",
    "/dev/tty",
    "/proc/kmsg",
    "/proc/self/mem",
    "/proc/self/environ",
    "pipe",
    "folder",
]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize("name", SPECIAL)
def test_devices_pipes_and_the_kernel_do_not_hang(tmp_path, name, linked):
    path = tmp_path / "x" if name in {"pipe", "folder"} else name
    if name == "pipe":
        os.mkfifo(path)
    elif name == "folder":
        path.mkdir()
    elif not Path(path).exists():
        pytest.skip(f"no {path} here")
    if linked:
        (tmp_path / "link.png").symlink_to(path)
        path = tmp_path / "link.png"
    for read in (decode_image, decode_mask):
        with pytest.raises(BadImageError, match="cannot be read"):
            read({"bytes": None, "path": str(path)}, "row 1")
    with pytest.raises(DataError, match=r"^image="):
        read_photo(str(path))


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "name", ["cat/p.png", "train.parquet", "metadata.jsonl", "README.md", "state.json", "dataset_dict.json"]
)
def test_pipes_in_a_folder_do_not_hang(folder, name):
    os.mkfifo(folder / name)
    with pytest.raises(DataError, match=r"is not a file|is empty|is a pipe"):
        read_all(folder)


def test_a_file_name_that_is_not_utf_8(folder):
    try:
        (folder / os.fsdecode(b"cat/\xff.png")).write_bytes(b"")
    except OSError:
        pytest.skip("this file system has such names not")
    with pytest.raises(DataError, match=r"b'cat/\\xff\.png' is not UTF-8; rename it"):
        load_splits(str(folder))
