"""Bad input of detection: one line, exit status 2, nothing touched.

Each row is a command line, as ``helpers.bad_input`` reads it, and what its one line of error says.
"""

import pytest

# $detect looks for the digits of digit_scenes, $objects/NAME for the objects of a set with three classes, and $find
# predicts the digits with an untrained network
DETECTION = [
    pytest.param("$detect --model.head yolo", r"head: 'yolo' .*'retinanet', 'faster_rcnn', 'mask_rcnn'", id="detector"),
    pytest.param("$detect --model.head_norm batch", r"head_norm: 'batch' .*'none', 'group'", id="detector-norm"),
    pytest.param("$detect --model.head_channels 1", r"head_channels=1 must be at least 2", id="detector-channels"),
    pytest.param("$detect --model.anchor_scale 0", r"anchor_scale=0\.0 must be above 0, or null", id="anchor-scale"),
    pytest.param("$detect --model.score_threshold 1", r"score_threshold=1\.0 must be .* below 1", id="score-threshold"),
    pytest.param("$detect --model.nms_threshold 0", r"nms_threshold=0\.0 must be above 0", id="nms-threshold"),
    pytest.param(
        "$detect --model.detections_per_image 0", r"detections_per_image=0 must be at least 1", id="detections"
    ),
    pytest.param(
        "$detect --model.timm_backbone resnet1", r"timm_backbone='resnet1' is unknown; .* names them", id="timm-unknown"
    ),
    pytest.param(
        "$detect --model.timm_backbone vit_tiny_patch16_224",
        r"has maps of strides 16, 16, 16; choose a model with 4, 8",
        id="timm-strides",
    ),
    pytest.param(
        "$detect --model.num_classes 7", r"num_classes=7, but .* 10 classes; leave .* out", id="detector-classes"
    ),
    pytest.param(
        "$detect --model.backbone.depths [1] --model.backbone.dims [32] "
        "--model.backbone.attention full --model.backbone.topk all",
        r"head='retinanet' needs two or more stages whose strides double, but they are 4",
        id="one-stage",
    ),
    pytest.param(
        "$detect --model.optim.milestones [8,11]",
        r"optim\.milestones=.* must be shares of the run between 0 and 1",
        id="milestones",
    ),
    pytest.param(
        "$detect --model.optim.schedule poly", r"optim\.schedule: 'poly' .*'cosine', 'linear', 'step'", id="schedule"
    ),
    pytest.param(
        "$detect --model.weights $files/other.pth",
        r"other\.pth: the weights do not fit this model, nothing was loaded: .*; use the settings",
        id="detector-weights",
    ),
    pytest.param(
        "$detect --data.box_format corners", r"box_format: 'corners' .*'xywh', 'xyxy', 'cxcywh'", id="box-format"
    ),
    pytest.param("$detect --data.max_size 32", r"max_size: 32 must not be below the shorter side, 64", id="max-size"),
    pytest.param("$detect --data.image_size [64,64]", r"image_size: '\[64, 64\]' .*expected int", id="short-side-pair"),
    pytest.param(
        "$detect --data.augmentation.short_sides [64,480]",
        r"max_size: 128 must not be below .* 480 .*short_sides",
        id="short-sides",
    ),
    pytest.param(
        "$detect --data.augmentation.flip_vertical 2",
        r"augmentation\.flip_vertical: 2\.0 must be within",
        id="box-flip",
    ),
    pytest.param(
        "$detect --data.masks false --model.head mask_rcnn",
        r"masks=False, but head='mask_rcnn' learns masks; set",
        id="masks-off",
    ),
    pytest.param(
        "$objects/good --model.head mask_rcnn",
        r"masks: masks are wanted, but .*'objects' have none .*; set .*mask_field",
        id="no-object-masks",
    ),
    pytest.param(
        "$objects/good --data.normalised true",
        r"row 0: a box holds \d+, which is no fraction .*; set .*normalised: false",
        id="normalised",
    ),
    pytest.param(
        "$objects/fractions",
        r"normalised: false, but no box in split 'train' .* above 0\.5.*; set it to true",
        id="not-normalised",
    ),
    pytest.param(
        "$objects/good --data.objects_column boxes",
        r"objects_column: no column 'boxes'; the columns are image",
        id="objects-column",
    ),
    pytest.param(
        "$objects/good --data.objects_column image",
        r"objects_column: column 'image' holds Image, not objects",
        id="images-as-objects",
    ),
    pytest.param(
        "$objects/good --data.category_field kind",
        r"category_field: column 'objects' has no field 'kind'; its fields are bbox",
        id="category-field",
    ),
    pytest.param(
        "$objects/good --data.num_classes 2",
        r"num_classes: 2 given, but the data set has 3 .*leave",
        id="object-classes",
    ),
    pytest.param(
        "$objects/nan",
        r"split 'train', row 3, object 2: the box \[1.*nan, 4.*\] is not finite; correct or",
        id="box-nan",
    ),
    pytest.param(
        "$objects/three", r"split 'train', row 3, object 1: the box \[1.*3\.0\] must be four numbers", id="box-of-three"
    ),
    pytest.param(
        "$objects/lengths",
        r"split 'train', row 3: there are 3 boxes \(bbox\), but 2 of category; give each",
        id="objects-lengths",
    ),
    pytest.param(
        "$objects/category",
        r"split 'validation', row 0, object 0: label 'dog' is not one of .* \(cat\); correct",
        id="category",
    ),
    pytest.param(
        "$objects/hollow",
        r"split 'validation' of .*hollow' is empty; add rows or name another split",
        id="objects-empty-split",
    ),
    pytest.param(
        "$objects/nothing", r"split 'validation' has no object at all; label it, or name another split", id="no-object"
    ),
    pytest.param(
        "$objects/masks --model.head mask_rcnn",
        r"row 0, object 2: the mask has 48x40 pixels, .* has 56x40 .*; make them alike",
        id="object-mask-size",
    ),
    pytest.param(
        "$objects/good --data.batch_size 50",
        r"batch_size: 50 .* there are 4 training rows .*; set at most 4",
        id="objects-batch",
    ),
    pytest.param(
        "$find --predictions.path $files/note.txt",
        r"predictions\.path=.*note\.txt exists already; choose another folder",
        id="objects-exist",
    ),
    pytest.param(
        "$find --predictions.path $files/good",
        r"predictions\.path=.*good exists already; choose another folder or",
        id="objects-folder",
    ),
    pytest.param(
        "$find --predictions.path gone/found",
        r"predictions\.path=.*folder gone does not exist; make",
        id="objects-no-folder",
    ),
    pytest.param(
        "$find --predictions.min_score 1.5",
        r"predictions\.min_score=1\.5 must be at least 0 and below 1",
        id="min-score",
    ),
    pytest.param("$find --predictions.most_boxes 0", r"predictions\.most_boxes=0 must be at least 1", id="most-boxes"),
]


@pytest.mark.parametrize(("arguments", "message"), DETECTION)
def test_bad_input_of_detection_gives_one_clear_line(arguments, message, check_refusal):
    check_refusal(arguments, message)
