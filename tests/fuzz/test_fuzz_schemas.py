"""Data sets of strangers, whatever their columns hold: batches, or one clear error."""

import io
import itertools
import json
import shutil

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from fuzzing import VALUES, fuzz, mutate, one_line
from hypothesis import reject
from hypothesis import strategies as st
from PIL import Image

from biformer_lit.data import ClassificationDataModule, DetectionDataModule, SegmentationDataModule
from biformer_lit.errors import BiFormerLitError


def picture(mode, size=(9, 7), kind="PNG"):
    buffer = io.BytesIO()
    pixels = np.arange(size[0] * size[1], dtype=np.uint8).reshape(size[1], size[0]) % 3
    Image.fromarray(pixels).convert(mode).save(buffer, kind)
    return buffer.getvalue()


MAPS = [picture("L"), picture("P")]
PICTURES = [picture("RGB"), picture("RGB"), picture("RGB", kind="JPEG"), *MAPS]
ODD = [picture("L", (3, 3)), picture("RGBA"), b"", b"broken", PICTURES[0][:60]]
BYTES = st.sampled_from([*PICTURES, *ODD])
# mostly what is meant, for one bad row ends everything
USUAL = {
    "image": st.sampled_from([*PICTURES * 12, *ODD]),
    "mask": st.sampled_from([*MAPS * 24, *PICTURES, *ODD]),
}
TEXTS = st.sampled_from(["ant", "bee", "ant", "bee", "1", "", "a\nb", "nowhere.png", "/", "é" * 50, "\x00", "[1, 2]"])
FLOATS = st.sampled_from([0.0, 1.0, 2.0, 3.5, -1.0, float("nan"), float("inf"), 1e300])
BOXES = st.sampled_from([[1.0, 1.0, 5.0, 5.0], [0.0, 0.0, 2.0, 6.0], [3.0, 2.0, 9.0, 9.0], [0.1, 0.1, 0.5, 0.5]])
POLYGONS = st.sampled_from([[[1.0, 1.0, 6.0, 1.0, 6.0, 6.0]], [[0.0, 0.0, 3.0, 0.0, 3.0, 3.0, 0.0, 3.0]]])
NAMES = st.sampled_from(
    [
        *("image", "img", "label", "labels", "mask", "annotation", "objects", "bbox", "category", "segmentation"),
        *("Image", "image ", "", "a\nb", "a.b", "é", "index", "skipped", "error", "file_name", "x" * 60),
    ]
)
CLASSES = st.sampled_from([["ant", "bee", "cat"], ["ant"], [], ["a\nb", ""], [str(number) for number in range(300)]])

WHOLE = [pa.int8(), pa.int32(), pa.int64(), pa.uint8(), pa.uint64()]
PLAIN = [
    *(pa.null(), pa.bool_(), pa.float16(), pa.float32(), pa.float64(), pa.string(), pa.large_string()),
    *(pa.binary(), pa.large_binary(), pa.date32(), pa.timestamp("us"), pa.time64("us"), pa.duration("s")),
    *(pa.decimal128(5, 2), pa.binary(3), pa.dictionary(pa.int8(), pa.string()), pa.string_view(), pa.binary_view()),
]
PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
IMAGES = st.sampled_from([PICTURE, PICTURE, PICTURE, pa.binary(), pa.large_binary()])
LABELS = st.sampled_from([*WHOLE, pa.string(), pa.large_string(), pa.bool_(), pa.float64(), *PLAIN])
LISTS = st.sampled_from([pa.list_, pa.list_, pa.large_list, lambda inner: pa.list_(inner, 4)])


def structs(kinds):
    names = st.sampled_from(["bytes", "path", "bbox", "category", "counts", "size", "a", ""])
    return st.dictionaries(names, kinds, min_size=1, max_size=3).map(lambda fields: pa.struct(list(fields.items())))


KINDS = st.recursive(
    st.sampled_from([*WHOLE, *PLAIN]),
    lambda inner: st.builds(lambda make, kind: make(kind), LISTS, inner) | structs(inner),
    max_leaves=4,
)


@st.composite
def objects(draw):
    """A type of objects, near to being right."""
    inner = draw(LISTS)(draw(st.sampled_from([pa.float64(), pa.float32(), pa.int64(), pa.float16(), pa.string()])))
    fields = {"bbox": inner, "category": draw(st.sampled_from(WHOLE) | LABELS)}
    runs = pa.struct([("counts", pa.string()), ("size", pa.list_(pa.int64()))])
    mask = st.sampled_from([pa.list_(pa.list_(pa.float64())), runs, pa.binary(), PICTURE, pa.string()])
    for name, kinds in {"area": LABELS, "iscrowd": LABELS, "segmentation": mask, "note": KINDS}.items():
        if draw(st.integers(0, 2)) == 0:
            fields[name] = draw(kinds)
    if draw(st.integers(0, 4)) == 0:
        fields[draw(st.sampled_from(sorted(fields)))] = draw(KINDS)
    make = draw(LISTS)
    if draw(st.booleans()):
        return make(pa.struct(list(fields.items())))
    return pa.struct([(name, make(kind)) for name, kind in fields.items()])


def values_of(kind, name=""):
    """What a column or field of that type may hold."""
    one, types = known_values(kind, name), pa.types
    if kind == PICTURE and name in USUAL:
        paths = st.integers(0, 31).flatmap(lambda number: st.none() if number else TEXTS)
        one = st.fixed_dictionaries({"bytes": USUAL[name], "path": paths})
    elif one is None and types.is_struct(kind):
        fields = fields_of(kind)
        one = st.fixed_dictionaries({field.name: values_of(field.type, field.name) for field in fields})
        if all(types.is_list(field.type) or types.is_large_list(field.type) for field in fields):
            one = st.integers(0, 3).flatmap(lambda count: equally_long(fields, count)) | one
    elif one is None and types.is_fixed_size_list(kind):
        one = st.lists(values_of(kind.value_type, name), min_size=kind.list_size, max_size=kind.list_size)
    elif one is None:
        one = st.lists(values_of(kind.value_type, name), max_size=4)
    # mostly something, for a None ends most rows at once
    return st.integers(0, 63).flatmap(lambda number: one if number else st.none())


def fields_of(kind):
    return [kind.field(number) for number in range(kind.num_fields)]


def equally_long(fields, count):
    """Lists as they belong together, one value for each object."""
    values = {field.name: values_of(field.type.value_type, field.name) for field in fields}
    return st.fixed_dictionaries({name: st.lists(one, min_size=count, max_size=count) for name, one in values.items()})


def known_values(kind, name):
    types = pa.types
    if name == "bbox" and is_list(kind) and types.is_floating(kind.value_type):
        return BOXES
    if name == "segmentation" and is_list(kind) and is_list(kind.value_type):
        return POLYGONS if types.is_floating(kind.value_type.value_type) else None
    if types.is_integer(kind):
        most = 2 ** (kind.bit_width - (not str(kind).startswith("u"))) - 1
        edges = [most] if str(kind).startswith("u") else [most, -most - 1, -1]
        return st.sampled_from([0, 1, 2] * 16 + edges)
    if types.is_fixed_size_binary(kind):
        return st.just(b"abc")
    for test, values in (
        (types.is_null, st.none()),
        (types.is_boolean, st.booleans()),
        (types.is_floating, FLOATS.filter(lambda value: kind.bit_width == 64 or abs(value) != 1e300)),
        (lambda kind: types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind), TEXTS),
        (
            lambda kind: types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind),
            USUAL.get(name, BYTES),
        ),
        (types.is_dictionary, TEXTS),
        (types.is_decimal, st.decimals(-9, 9, places=2)),
        (types.is_date, st.dates()),
        (types.is_timestamp, st.datetimes()),
        (types.is_time, st.times()),
        (types.is_duration, st.timedeltas().map(lambda time: time.seconds)),
    ):
        if test(kind):
            return values
    return None


def is_list(kind):
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


TARGETS = {
    "classification": st.tuples(st.just("label"), LABELS),
    "segmentation": st.tuples(st.just("mask"), IMAGES),
    "detection": st.tuples(st.just("objects"), objects()),
}
COLUMNS = st.one_of(*TARGETS.values(), st.tuples(NAMES, KINDS | IMAGES | LABELS | objects()))


@st.composite
def tables(draw, task, columns=None):
    """An Arrow table, and its columns by name and type; Arrow allows several of the same name."""
    if columns is None:
        columns = draw(st.lists(COLUMNS, max_size=2))
        if draw(st.integers(0, 15)):
            columns.insert(0, draw(TARGETS[task]))
        if draw(st.integers(0, 15)):
            columns.insert(0, ("image", draw(IMAGES)))
        if draw(st.integers(0, 15)):  # of the same name is refused as a whole
            columns = list(dict(columns).items())
    rows = draw(st.sampled_from([20, 20, 20, 8, 6, 1, 0]))
    arrays = []
    for name, kind in columns:
        values = draw(st.lists(values_of(kind, name), min_size=rows, max_size=rows))
        try:
            arrays.append(pa.array(values, kind))
        except pa.ArrowException:  # four numbers were meant, and others came
            reject()
    schema = pa.schema([(name, array.type) for (name, _), array in zip(columns, arrays, strict=True)])
    return pa.Table.from_arrays(arrays, schema=schema), columns


def declared(draw, kind):
    """What ``datasets`` may be told of a column of such a type; right, or nearly."""
    if draw(st.integers(0, 3)) == 0:
        return {"_type": "Image"} if draw(st.booleans()) else {"_type": "ClassLabel", "names": draw(CLASSES)}
    if kind == PICTURE:
        return {"_type": "Image"}
    if pa.types.is_struct(kind):
        return {field.name: declared(draw, field.type) for field in fields_of(kind)}
    if is_list(kind):
        return {"_type": draw(st.sampled_from(["List", "Sequence"])), "feature": declared(draw, kind.value_type)}
    names = {"float": "float32", "double": "float64", "halffloat": "float16"}
    return {"_type": "Value", "dtype": names.get(str(kind), str(kind))}


@st.composite
def folders(draw, task):
    """Tables by split, and how they are written."""
    table, columns = draw(tables(task))
    found = {"train": table}
    if draw(st.booleans()):
        found["validation"] = draw(tables(task, draw(st.sampled_from([columns, columns, None]))))[0]
    told = None
    if draw(st.booleans()):
        told = {name: declared(draw, kind) for name, kind in columns}
        if draw(st.integers(0, 4)) == 0:
            told = mutate(draw, told, VALUES)
    return found, told, draw(st.sampled_from(["parquet", "parquet", "disk", "damaged disk"])), draw(st.randoms())


def written(folder, splits, told, kind, random):
    """Write the folder; what ``datasets`` would not write itself is written as Parquet."""
    folder.mkdir()
    if kind != "parquet":
        features = None if told is None else datasets.Features.from_dict(told)
        made = datasets.DatasetDict(
            {
                name: datasets.Dataset(table.replace_schema_metadata(None), datasets.DatasetInfo(features=features))
                for name, table in splits.items()
            }
        )
        made.save_to_disk(str(folder))
        if kind == "damaged disk":
            damage_json(folder, random)
        return
    for name, table in splits.items():
        about = None if told is None else {"huggingface": json.dumps({"info": {"features": told}})}
        pq.write_table(table.replace_schema_metadata(about), folder / f"{name}.parquet")


def damage_json(folder, random):
    path = random.choice(sorted(folder.rglob("*.json")))
    values = json.loads(path.read_text())
    inner = values
    while isinstance(inner, dict) and inner:
        key = random.choice(sorted(inner))
        if not isinstance(inner[key], dict) or not random.randrange(3):
            inner[key] = random.choice([None, 0, -1, "", "x", [], {}, [1], {"_type": "Image"}, [[]], 1e300])
            break
        inner = inner[key]
    path.write_text(json.dumps(values))


MODULES = {
    "classification": (ClassificationDataModule, {"image_size": 16}, {"label_column": NAMES}),
    "segmentation": (SegmentationDataModule, {"image_size": 16, "num_classes": 3}, {"mask_column": NAMES}),
    "detection": (
        DetectionDataModule,
        {"image_size": 16, "max_size": 24},
        {"objects_column": NAMES, "masks": st.booleans(), "normalised": st.booleans(), "category_field": NAMES},
    ),
}
LOADERS = {"fit": ("train_dataloader", "val_dataloader"), "predict": ("predict_dataloader",)}


def check_folder(folder, task, settings):
    """All that a run would read: how many batches of each loader came, and what the errors said."""
    module, always, _ = MODULES[task]
    outcome = {}
    for stage, loaders in LOADERS.items():
        data = module(dataset=str(folder), num_workers=0, batch_size=2, **{**always, **settings})
        try:
            data.setup(stage)
        except BiFormerLitError as error:
            one_line(error)
            outcome[stage] = str(error)
            continue
        for loader in loaders:
            outcome[loader] = read_batches(getattr(data, loader))
    return outcome


def read_batches(loader):
    try:
        batches = list(itertools.islice(loader(), 2))
    except BiFormerLitError as error:
        one_line(error)
        return str(error)
    for batch in batches:
        assert batch["image"].dtype == torch.float32
        assert batch["image"].isfinite().all()
        assert len(batch["image"]) == len(batch["index"]) > 0
    return len(batches)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
    monkeypatch.setattr(datasets.config, "SLEEP_TIME_ON_THREADS_SHUTDOWN", 0, raising=False)
    datasets.disable_progress_bars()


def optional(strategies):
    """Mostly none of the settings: what is named wrongly ends before anything is read."""
    return st.one_of(st.just({}), st.just({}), st.fixed_dictionaries({}, optional=strategies))


def check_written(tmp_path, task, made, settings):
    folder = tmp_path / "set"
    try:
        try:
            written(folder, *made)
        except Exception:  # noqa: BLE001  # of datasets and pyarrow, which refuse in many ways to write it
            shutil.rmtree(folder)
            try:
                written(folder, made[0], made[1], "parquet", None)
            except pa.ArrowException:  # Parquet has no such type
                reject()
        return check_folder(folder, task, settings)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(datasets.config.HF_DATASETS_CACHE, ignore_errors=True)


COMMON = {"streaming": st.booleans(), "on_bad_image": st.sampled_from(["error", "skip"]), "image_column": NAMES}


@pytest.mark.parametrize("task", MODULES)
@fuzz(15, data=st.data())
def test_a_data_set(tmp_path, task, data):
    made = data.draw(folders(task))
    check_written(tmp_path, task, made, data.draw(optional({**COMMON, **MODULES[task][2]})))


@pytest.mark.parametrize("kind", ["parquet", "disk"])
@pytest.mark.parametrize("task", MODULES)
def test_a_sound_data_set(tmp_path, task, kind):
    """What the others could find must be found in what they read."""
    objects = pa.struct([("bbox", pa.list_(pa.list_(pa.float64()))), ("category", pa.list_(pa.int64()))])
    kinds = {"image": PICTURE, "label": pa.int64(), "mask": PICTURE, "objects": objects}
    rows = {
        "image": [{"bytes": PICTURES[0], "path": None}] * 20,
        "label": [0, 1] * 10,
        "mask": [{"bytes": MAPS[0], "path": None}] * 20,
        "objects": [{"bbox": [[1.0, 1.0, 5.0, 5.0]], "category": [2]}] * 20,
    }
    table = pa.table(rows, pa.schema(list(kinds.items())))
    expected = dict.fromkeys([loader for loaders in LOADERS.values() for loader in loaders], 2)
    settings = {} if task != "segmentation" else {"mask_column": "mask"}
    for streaming in (False, True):
        made = {"train": table, "validation": table}, None, kind, None
        if streaming and task != "segmentation":
            settings["num_classes"] = 2 if task == "classification" else 3
        outcome = check_written(tmp_path, task, made, {**settings, "streaming": streaming})
        assert outcome == expected
