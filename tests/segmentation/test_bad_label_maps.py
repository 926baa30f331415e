"""Bad input of segmentation: one line, exit status 2, nothing touched.

Each row is a command line, as ``helpers.bad_input`` reads it, and what its one line of error says.
"""

import pytest

# $segment trains on digit_scenes, $masks/NAME on a set of label maps with two classes
SEGMENTATION_DATA = [
    pytest.param("$segment --data.image_size 0", r"image_size: 0 must be 1 or more: one number, or", id="crop-zero"),
    pytest.param("$segment --data.image_size [64,0]", r"image_size: \(64, 0\) must be 1 or more", id="crop-pair"),
    pytest.param("$segment --data.image_size big", r"image_size: 'big' .*expected int", id="crop-text"),
    pytest.param("$segment --data.eval_size 0", r"eval_size: 0 must be 1 or more, or null", id="eval-size"),
    pytest.param(
        "$segment --data.augmentation.scale [2,1]", r"augmentation\.scale: .* must be .*low <= high", id="mask-scale"
    ),
    pytest.param("$segment --data.augmentation.flip 2", r"augmentation\.flip: 2\.0 must be within", id="mask-flip"),
    pytest.param(
        "$segment --data.augmentation.cat_max_ratio 0", r"cat_max_ratio: 0\.0 must be above 0", id="cat-max-ratio"
    ),
    pytest.param(
        "$segment --data.augmentation.crop padded",
        r"unrecognized arguments: --augmentation\.crop.*--help",
        id="mask-crop",
    ),
    pytest.param("$segment --data.scenes.train 0", r"scenes\.train: 0 must be 1 or more", id="scenes-train"),
    pytest.param("$segment --data.scenes.image_size 100", r"scenes\.image_size: 100 must be a mult", id="scenes-size"),
    pytest.param("$segment --data.scenes.digits [9,40]", r"scenes\.digits: .* leaves no room; lower", id="scenes-room"),
    pytest.param(
        "$segment --data.scenes.clutter 2", r"scenes\.clutter: 2\.0 must be within 0\.\.1", id="scenes-clutter"
    ),
    pytest.param(
        "$segment --data.num_classes 7", r"num_classes: 7 given, but the data set names 11 .*leave", id="mask-classes"
    ),
    pytest.param(
        "$segment --data.ignore_index 3", r"ignore_index: 3 is one of the 11 classes; choose", id="ignore-a-class"
    ),
    pytest.param(
        "$segment --data.mask_column nope", r"mask_column: no column 'nope'; the columns are image", id="mask-column"
    ),
    pytest.param(
        "$segment --data.mask_column image", r"mask_column: 'image' holds the images themselves", id="mask-is-image"
    ),
    pytest.param(
        "$segment --data.mask_column width", r"mask_column: column 'width' holds int64, not images", id="mask-number"
    ),
    pytest.param(
        "$masks/good --data.scenes.seed 1", r"scenes: .* is for the data set digit_scenes; leave", id="foreign-scenes"
    ),
    pytest.param("$masks/good --data.num_classes null", r"num_classes: nothing names .*; set it, or", id="no-names"),
    pytest.param(
        "$masks/names",
        r"holds the label 1, but the 2 classes are stored as 0, 2, .* class_values",
        id="names-with-a-gap",
    ),
    pytest.param("$masks/json", r"id2label\.json: does not name the classes; write", id="names-not-json"),
    pytest.param("$masks/none", r"mask_column: cannot tell which .* masks .*; set it", id="no-masks"),
    pytest.param(
        "$masks/several", r"mask_column: cannot tell which .* masks .*; set it; the columns", id="several-masks"
    ),
    pytest.param("$masks/colour", r"'train', row 3: the mask has mode RGB, .*; store it with", id="mask-in-colour"),
    pytest.param("$masks/jpeg", r"'train', row 3: the mask is a JPEG, .*; store it as PNG", id="mask-jpeg"),
    pytest.param(
        "$masks/size", r"'train', row 3: the mask has 64x32 pixels, .* has 64x64 .*; make them alike", id="mask-size"
    ),
    pytest.param(
        "$masks/label", r"'train', row 3: the mask holds the label 9, .* 0\.\.1, .*; correct the mask", id="mask-label"
    ),
    pytest.param(
        "$masks/reduced --data.reduce_zero_label true --data.absent_classes allow",
        r"'train', row 3: the mask holds the label 3, .* stored as 1\.\.2, and 255 is ignored; correct",
        id="mask-label-reduced",
    ),
    pytest.param("$masks/gone", r"'train', row 3: the mask is missing; remove the row or label it", id="mask-missing"),
    pytest.param("$masks/cut", r"'train', row 3: the mask cannot be read .*on_bad_image: skip", id="mask-truncated"),
]


@pytest.mark.parametrize(("arguments", "message"), SEGMENTATION_DATA)
def test_bad_label_maps_gives_one_clear_line(arguments, message, check_refusal):
    check_refusal(arguments, message)
