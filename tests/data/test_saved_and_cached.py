"""Data sets that save_to_disk wrote in any format, and caches that cannot be written."""

import datasets
import pyarrow as pa
import pytest

from biformer_lit.data import ClassificationDataModule
from biformer_lit.data.folder import tables
from biformer_lit.errors import DataError


def fitted(folder, **settings):
    data = ClassificationDataModule(dataset=str(folder), batch_size=4, image_size=8, num_workers=0, **settings)
    data.setup("fit")
    return data


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("shown", ["torch", "numpy", "pandas", "polars", "arrow", "python"])
def test_formats_of_saved_rows_do_not_matter(make_table, tmp_path, shown, streaming):
    if shown == "polars":
        pytest.importorskip("polars")
    splits = {"train": make_table(12).with_format(shown), "validation": make_table(6).with_format(shown)}
    datasets.DatasetDict(splits).save_to_disk(tmp_path)
    data = fitted(tmp_path, streaming=streaming)
    assert [label for batch in data.val_dataloader() for label in batch["label"].tolist()] == [0, 1, 2, 0, 1, 2]
    assert data.class_names == ["ant", "bee", "cat"]


@pytest.mark.parametrize("columns", [["label"], ["image"], []])
def test_columns_that_were_shown_do_not_matter(make_table, tmp_path, columns):
    table = make_table(60)
    table.set_format("torch", columns=columns)
    table.save_to_disk(tmp_path)
    assert fitted(tmp_path).num_rows("validation") == 6


def test_formats_of_splits_from_python_do_not_matter(make_table, monkeypatch):
    splits = {name: make_table(12).with_format("torch", columns=["label"]) for name in ("train", "validation")}
    monkeypatch.setattr("biformer_lit.data.data_module.load_splits", lambda *_, **__: splits)
    assert next(iter(fitted("./anything").val_dataloader()))["label"].tolist() == [0, 1, 2, 0]


@pytest.fixture
def no_cache(tmp_path, monkeypatch):
    """A cache folder that nobody can make, not even root."""
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "file" / "cache")


@pytest.mark.usefixtures("no_cache")
def test_parquet_without_a_cache_is_held_in_memory(make_table, write, caplog):
    data = fitted(write(train=make_table(12), validation=make_table(6)))
    assert len(next(iter(data.val_dataloader()))["index"]) == 4
    assert "the cache folder" in caplog.text
    assert "set HF_DATASETS_CACHE to a folder that can be written" in caplog.text


@pytest.mark.usefixtures("no_cache")
def test_parquet_too_large_for_that_names_the_cache(make_table, write, monkeypatch):
    monkeypatch.setattr(tables, "_MOST_IN_MEMORY", 10)
    folder = write(train=make_table(12), validation=make_table(6))
    with pytest.raises(DataError, match=r"^the cache folder .*cannot be written .*HF_DATASETS_CACHE.*streaming: true"):
        fitted(folder)
    assert fitted(folder, streaming=True).class_names == ["ant", "bee", "cat"]


@pytest.mark.usefixtures("no_cache")
def test_images_and_saved_rows_need_no_cache(make_table, tmp_path, caplog):
    make_table(60).save_to_disk(tmp_path / "saved")
    assert fitted(tmp_path / "saved").num_rows("train") == 54
    assert "cache" not in caplog.text


def test_a_file_that_changed_is_copied_to_the_cache_again(make_table, write):
    assert fitted(write(train=make_table(12), validation=make_table(6))).num_rows("validation") == 6
    assert fitted(write(validation=make_table(9))).num_rows("validation") == 9


def test_files_of_a_split_with_classes_in_another_order(make_table, tmp_path):
    other = datasets.ClassLabel(names=["cat", "bee", "ant"])
    make_table(6).to_parquet(tmp_path / "train-00000-of-00002.parquet")
    make_table(6, [0] * 6, other).to_parquet(tmp_path / "train-00001-of-00002.parquet")
    with pytest.raises(DataError, match=r"00001-of-00002\.parquet: column 'label' numbers the classes otherwise"):
        fitted(tmp_path)


@pytest.mark.parametrize("kind", ["saved", "parquet"])
def test_a_truncated_file_is_one_line(make_table, tmp_path, kind):
    if kind == "saved":
        make_table(60).save_to_disk(tmp_path)
    else:
        make_table(60).to_parquet(tmp_path / "train.parquet")
    path = next(tmp_path.glob("*.arrow" if kind == "saved" else "*.parquet"))
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(DataError, match="cannot be opened as a data set") as caught:
        fitted(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_cut_short_in_use(make_table, tmp_path):
    make_table(600).save_to_disk(tmp_path)
    loader = iter(fitted(tmp_path).val_dataloader())
    assert len(next(loader)["index"]) == 4
    with next(tmp_path.glob("*.arrow")).open("r+b") as file:
        file.truncate(100)
    with pytest.raises(DataError, match=r"\.arrow: is shorter than when it was opened \(100 of"):
        next(loader)


def test_arrow_files_of_both_layouts(make_table, tmp_path):
    table = make_table(12)
    (folder := tmp_path / "arrow").mkdir()
    arrow = table.data.table
    for name, opened in (("train", pa.ipc.new_stream), ("validation", pa.ipc.new_file)):
        with pa.OSFile(str(folder / f"{name}.arrow"), "wb") as sink, opened(sink, arrow.schema) as writer:
            writer.write_table(arrow)
    assert fitted(folder).num_rows("validation") == 12
