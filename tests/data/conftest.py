"""Small data sets, made on the spot; nothing here needs a network."""

import io

import datasets
import numpy as np
import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
    # datasets 5 waits five seconds after each pass through a shuffled stream
    monkeypatch.setattr(datasets.config, "SLEEP_TIME_ON_THREADS_SHUTDOWN", 0, raising=False)
    monkeypatch.setenv("PL_GLOBAL_SEED", "7")
    datasets.disable_progress_bars()


def encode(array, kind="PNG", **options):
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(array, dtype=np.uint8)).save(buffer, format=kind, **options)
    return buffer.getvalue()


def picture(row, size=8):
    """A grey picture whose level tells its row."""
    return {"bytes": encode(np.full((size, size, 3), row % 256)), "path": None}


@pytest.fixture
def make_table():
    """Make a split of ``rows`` images; label = row % 3, as ClassLabel unless ``labels`` are given."""

    def make(rows, labels=None, feature=None, bad=(), image="image", label="label"):
        if labels is None:
            labels, feature = (
                [row % 3 for row in range(rows)],
                datasets.ClassLabel(names=["ant", "bee", "cat"]),
            )
        content = [{"bytes": b"broken", "path": None} if row in bad else picture(row) for row in range(rows)]
        table = datasets.Dataset.from_dict({image: content, label: labels})
        table = table.cast_column(image, datasets.Image())
        return table if feature is None else table.cast_column(label, feature)

    return make


@pytest.fixture
def write(tmp_path):
    """Write splits as Parquet files, ``shards`` for each, and return the folder."""

    def save(shards=1, **splits):
        folder = tmp_path / "parquet"
        folder.mkdir(exist_ok=True)
        for name, table in splits.items():
            for shard in range(shards):
                part = table.shard(shards, shard) if len(table) else table
                part.to_parquet(str(folder / f"{name}-{shard:05d}-of-{shards:05d}.parquet"))
        return str(folder)

    return save
