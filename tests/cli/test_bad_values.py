"""Values of the wrong type or out of their range: one line, exit status 2, nothing touched.

Each row is a command line, as ``helpers.bad_input`` reads it, and what its one line of error says.
"""

import pytest

TYPES = [
    pytest.param("fit $tiny --model.optim.lr fast", r"optim\.lr: 'fast' .*expected float", id="lr-text"),
    pytest.param("fit $tiny --model.optim.lr nan", r"optim\.lr: 'nan' .*expected float", id="lr-nan"),
    pytest.param("fit $tiny --data.batch_size 2.5", r"batch_size: '2\.5' .*expected int", id="batch-size-fraction"),
    pytest.param("fit $tiny --data.mean [0,0]", r"mean: .*\[0, 0\].*expected tuple with 3", id="mean-of-two-channels"),
    pytest.param("fit $tiny --model.optim.betas [0.9]", r"optim\.betas: .*expected tuple with 2", id="one-beta"),
    pytest.param("fit $tiny --monitoring maybe", r"monitoring: 'maybe' .*expected bool", id="monitoring"),
    pytest.param("fit $tiny --seed_everything x", r"seed_everything: 'x' .*expected bool, int", id="seed-text"),
    pytest.param("fit $tiny --seed_everything -1", r"seed_everything: -1 .*accepts from 0 to", id="seed-negative"),
    pytest.param("fit $tiny --model.optim.name adamm", r"optim\.name: 'adamm' .*'adamw', 'sgd'", id="optimiser"),
    pytest.param(
        "fit $tiny --model.backbone.name biformer_huge",
        r"backbone\.name: 'biformer_huge' .*'biformer_tiny'",
        id="variant",
    ),
    pytest.param("fit $tiny --model.backbone.stem big", r"backbone\.stem: 'big' .*'overlap', 'patch'", id="stem"),
    pytest.param(
        "fit $tiny --model.backbone.attention '[bra, ful]'",
        r"backbone\.attention: .*'ful'.*'bra', 'full'",
        id="attention",
    ),
    pytest.param("fit $tiny --model.backbone.topk '[1, most]'", r"backbone\.topk: .*'most'.*'all'", id="topk-word"),
    pytest.param(
        "fit $tiny --data.augmentation.crop big", r"augmentation\.crop: 'big' .*'padded', 'none'", id="crop-misspelt"
    ),
    pytest.param(
        "fit $tiny --data.on_bad_image ignore", r"on_bad_image: 'ignore' .*'error', 'skip'", id="on-bad-image"
    ),
    pytest.param("fit $tiny --model Clasifier", r"model: 'Clasifier' is not a class .*give its name", id="model-class"),
    pytest.param("fit $tiny --data FolderData", r"data: 'FolderData' is not a class .*give its name", id="data-class"),
    pytest.param("fit $tiny --trainer.callbacks+=EMAA", r"trainer\.callbacks: 'EMAA' is not a class", id="callback"),
    pytest.param("fit $tiny --trainer.logger Bord", r"trainer\.logger: 'Bord' is not a class", id="logger"),
    pytest.param(
        "fit $tiny --model lightning.pytorch.demos.boring_classes.BoringModel",
        r"model: '.*BoringModel' is not allowed; expected BiFormerTask",
        id="foreign-model",
    ),
    pytest.param(
        "fit $tiny --data lightning.pytorch.demos.boring_classes.BoringDataModule",
        r"data: '.*BoringDataModule' is not allowed; expected HFDataModule",
        id="foreign-data",
    ),
]

RANGES = [
    pytest.param("fit $tiny --model.optim.lr -1", r"optim\.lr=-1\.0 must be above 0", id="lr"),
    pytest.param(
        "fit $tiny --model.optim.betas [0.9,1]", r"optim\.betas=.* must be two numbers of at least 0", id="betas"
    ),
    pytest.param("fit $tiny --model.optim.layer_decay 0", r"optim\.layer_decay=0\.0 must be above 0", id="layer-decay"),
    pytest.param("fit $tiny --model.optim.warmup_epochs -1", r"optim\.warmup_epochs=.* at least 0", id="warmup"),
    pytest.param("fit $tiny --model.mixing.mixup -1", r"mixing\.mixup=-1\.0 must be at least 0", id="mixup"),
    pytest.param("fit $tiny --model.mixing.prob 2", r"mixing\.prob=2\.0 must be between 0 and 1", id="mixing-prob"),
    pytest.param("fit $tiny --model.compile dynamc", r"compile: 'dynamc' .*dynamic", id="compile"),
    pytest.param(
        "fit $tiny --model.compile '{\"dynamik\": true}'",
        r"torch\.compile has no 'dynamik'; it takes",
        id="compile-argument",
    ),
    pytest.param("fit $tiny --model.label_smoothing 1", r"label_smoothing=1\.0 must be .*below 1", id="smoothing"),
    pytest.param("fit $tiny --model.num_classes 0", r"num_classes=0 must be at least 1, or null", id="no-classes"),
    pytest.param(
        "fit $tiny --trainer.callbacks '[{class_path: biformer_lit.callbacks.EMA, init_args: {decay: 1.5}}]'",
        r"decay=1\.5 must be above 0 and below 1",
        id="ema-decay",
    ),
    pytest.param(
        "fit $tiny --trainer.callbacks '[{class_path: biformer_lit.callbacks.EMA, init_args: {deca: 0.5}}]'",
        r"deca: there is no such setting; correct it",
        id="ema-unknown-argument",
    ),
    pytest.param(
        "fit $tiny --model.num_classes 7", r"num_classes=7, but .* 10 classes; leave .* out", id="classes-of-model"
    ),
    pytest.param(
        "fit $tiny --data.num_classes 7", r"num_classes: 7 given, but .* 10 classes .*leave", id="classes-of-data"
    ),
    pytest.param("fit $tiny --data.batch_size 63", r"batch_size=63 is odd, but mixing .*even size", id="odd-batch"),
    pytest.param(
        "fit $tiny --data.batch_size 5000", r"batch_size: 5000 .*1347 .*set at most 1347", id="batch-too-large"
    ),
    pytest.param("fit $tiny --data.batch_size 0", r"batch_size: 0 must be 1 or more", id="batch-size-zero"),
    pytest.param("fit $tiny --data.num_workers -1", r"num_workers: -1 must not be negative", id="workers"),
    pytest.param(
        "fit $tiny --data.val_fraction -0.1", r"val_fraction: -0\.1 must lie between 0 and 1", id="val-fraction"
    ),
    pytest.param("fit $tiny --data.crop_pct 0", r"crop_pct: 0\.0 must be more than 0", id="crop-pct"),
    pytest.param("fit $tiny --data.std [0,1,1]", r"std: .* must be three numbers above 0", id="std"),
    pytest.param("fit $tiny --data.augmentation.scale [1,0.5]", r"augmentation\.scale: .*low <= high", id="scale"),
    pytest.param(
        "fit $tiny --data.augmentation.rand_augment fun", r"rand_augment: 'fun' .*write for", id="rand-augment"
    ),
]


@pytest.mark.parametrize(("arguments", "message"), [*TYPES, *RANGES])
def test_a_bad_value_gives_one_clear_line(arguments, message, check_refusal):
    check_refusal(arguments, message)
