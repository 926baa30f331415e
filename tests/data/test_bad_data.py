"""Data sets that cannot be read as they are given: one line, exit status 2, nothing touched.

Each row is a command line, as ``helpers.bad_input`` reads it, and what its one line of error says.
"""

import pytest

DATA = [
    pytest.param(
        "fit $tiny --data.revision main", r"revision: 'main' is for data sets on the hub .*leave it out", id="revision"
    ),
    pytest.param(
        "fit $tiny --data.config_name x", r"config_name: 'x' is for .*leave it out", id="config-of-the-digits"
    ),
    pytest.param(
        "fit $tiny --data.dataset ./gone", r"dataset: the folder 'gone' does not exist .*; give", id="no-data"
    ),
    pytest.param("fit $tiny --data.dataset ''", r"dataset: '' must name a data set", id="data-without-name"),
    pytest.param(
        "fit $tiny --data.dataset /dev/null", r"dataset: '/dev/null' is a file; give the folder", id="data-null"
    ),
    pytest.param(
        "fit $tiny --data.dataset $files/good/train.parquet",
        r"train\.parquet' is a file; give the folder",
        id="data-is-file",
    ),
    pytest.param(
        "fit $tiny --data.dataset $files/hollow",
        r"dataset: the folder .*hollow' cannot be opened .*it must hold",
        id="hollow",
    ),
    pytest.param(
        "fit $tiny --data.dataset $files/garbage", r"dataset: the folder .*garbage' cannot .*it must hold", id="garbage"
    ),
    pytest.param(
        "fit $tiny --data.dataset someone/pictures",
        r"dataset: there is no folder 'someone/pictures' .*OfflineModeIsEnabled.*check .*HF_HUB_OFFLINE",
        id="hub-unreachable",
    ),
    pytest.param(
        "fit $tiny --data.dataset $files/no_image",
        r"image_column: cannot tell which .*set it; the columns are x \(int64\), label",
        id="no-image-column",
    ),
    pytest.param(
        "fit $tiny --data.dataset $files/two_images",
        r"image_column: cannot tell which .*set it; .*a \(Image\)",
        id="images",
    ),
    pytest.param(
        "fit $tiny --data.dataset $files/two_labels",
        r"label_column: cannot tell which .*set it; .*two \(int64\)",
        id="labels",
    ),
    pytest.param(
        "fit $tiny --data.image_column pic", r"image_column: no column 'pic'; .* image \(Image\)", id="no-pic"
    ),
    pytest.param(
        "fit $tiny --data.image_column label", r"image_column: column 'label' .*not images; the", id="label-as-pic"
    ),
    pytest.param("fit $tiny --data.label_column cls", r"label_column: no column 'cls'; the columns are", id="no-cls"),
    pytest.param("fit $tiny --data.train_split trian", r"train_split: no split 'trian'; .*has train", id="train-split"),
    pytest.param(
        "fit $tiny --data.val_split dev", r"val_split: no split 'dev'; .* has train, validation", id="val-split"
    ),
    pytest.param(
        "fit $tiny --data.dataset $files/floats",
        r"split 'train': column 'label' holds double, .*set data\.init_args\.label_column or convert",
        id="float-labels",
    ),
    pytest.param(
        "fit $tiny --data.dataset $files/missing_label",
        r"split 'train', row 4: the label is .*missing \(in 1 of 24 rows\); remove .* or label",
        id="missing-label",
    ),
    pytest.param(
        "fit $tiny --data.dataset $files/unlabelled", r"no row is labelled; set .*label_column", id="unlabelled"
    ),
    pytest.param(
        "test $tiny --data.dataset $files/unknown_label --data.batch_size 8 --model.weights $files/trained.ckpt",
        r"split 'test', row 1: label 'z' is not one of the 2 classes .*\(x, y\); correct",
        id="label-only-in-test",
    ),
    pytest.param(
        "test $tiny --data.dataset $files/hidden_test --model.weights $files/trained.ckpt",
        r"split 'test' is not labelled .*name a labelled split \(data\.init_args\.test_split\) or use predict",
        id="unlabelled-test-set",
    ),
    pytest.param(
        "test $tiny --data.dataset $files/good --model.weights $files/trained.ckpt",
        r"test_split: none to test on; there are train, validation; name",
        id="no-test",
    ),
    pytest.param(
        "fit $tiny --data.dataset $files/cut --data.batch_size 24",
        r"split 'train', row 5: the image cannot be read .*on_bad_image: skip",
        id="truncated-image",
    ),
    pytest.param(
        "fit $tiny --data.dataset $files/folders --data.batch_size 8 --trainer.limit_train_batches 1.0",
        r"split 'train', row 0 \(train.x.00.png\): the image cannot be read \(zero bytes are stored\); .*on_bad_image",
        id="empty-image-file",
    ),
    pytest.param(
        "fit $tiny --data.dataset $files/alone", r"class y has a single row; add rows, .*val_split", id="one-sample"
    ),
    pytest.param(
        "fit $tiny --data.dataset $files/hidden_test --data.streaming true",
        r"val_split: None does not do for a stream.*name a split .*streaming: false",
        id="stream-without-validation",
    ),
    pytest.param(
        "fit $tiny --data.streaming true --trainer.limit_train_batches 1.0",
        r"length of the run is unknown: set trainer\.max_steps, or .*limit_train_batches",
        id="stream-without-length",
    ),
]

# Data sets and data modules of other tasks
MIXED_UP = [
    pytest.param(
        "$objects/../good",
        r"objects_column: cannot tell .* objects with boxes; .* for classes .* another data module",
        id="classes-as-objects",
    ),
    pytest.param(
        "$objects/../masks/good",
        r"objects_column: cannot tell .* for classes of pixels .* use another data module",
        id="masks-as-objects",
    ),
    pytest.param(
        "$masks/../objects/good",
        r"mask_column: cannot tell .*'objects' holds boxes, which are for DetectionDataModule",
        id="objects-as-masks",
    ),
    pytest.param(
        "fit $tiny --data.dataset $files/objects/good",
        r"label_column: cannot tell .*'objects' holds boxes, which are for Detect",
        id="objects-as-classes",
    ),
    pytest.param(
        "$detect --config $files/segmenter.yaml",
        r"data: DetectionDataModule has objects, but SegmentationTask learns classes of pixels; "
        "set data to SegmentationDataModule or model to DetectionTask",
        id="segmenter-with-objects",
    ),
    pytest.param(
        "$detect --config $files/classifier.yaml",
        r"DetectionDataModule has objects, but ClassificationTask learns .*; set",
        id="classifier-with-objects",
    ),
    pytest.param(
        "$segment --config $files/detector.yaml",
        r"SegmentationDataModule has .* pixels, but DetectionTask learns objects; set",
        id="detector-with-masks",
    ),
    pytest.param(
        "$segment --config $files/classifier.yaml",
        r"SegmentationDataModule .*, but ClassificationTask learns classes of im",
        id="classifier-with-masks",
    ),
    pytest.param(
        "fit $tiny --config $files/detector.yaml",
        r"ClassificationDataModule has .* images, but DetectionTask .*; set data to Det",
        id="detector-with-classes",
    ),
    pytest.param(
        "fit $tiny --config $files/segmenter.yaml",
        r"ClassificationDataModule .*, but SegmentationTask learns .*; set data to Seg",
        id="segmenter-with-classes",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), [*DATA, *MIXED_UP])
def test_bad_data_gives_one_clear_line(arguments, message, check_refusal):
    check_refusal(arguments, message)
