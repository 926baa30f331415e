"""Bad input of every kind: one line that names the culprit and a remedy, exit status 2, nothing touched.

Each row is a command line and what its one line of error must say. ``$tiny`` is the smallest config that trains,
``$files`` the folder of the user's files that ``files`` makes; each row changes one thing.
"""

import hashlib
import io
import os
import re
import shlex
import shutil
import string
import subprocess
import sys
import zipfile

import datasets
import numpy as np
import pytest
import timm
import torch
import yaml
from data import objects
from PIL import Image

from biformer_lit import DetectionTask
from biformer_lit.cli import main, run

ONE_STEP = "--trainer.max_epochs 1 --trainer.limit_train_batches 1 --trainer.limit_val_batches 1"

# Lightning's ordinary lines, which a subprocess shows on stderr before ours
LOG_LINES = (
    "data '",
    "Seed set to",
    "GPU available",
    "TPU available",
    "💡 Tip",
    "`Trainer",
    "Loading `",
    "Restoring states",
)

COMMAND_LINES = [
    pytest.param(
        "",
        r"no command .*use fit, validate, test, predict, profile, complexity, convert, visualize or sweep",
        id="no-command",
    ),
    pytest.param("fitt $tiny", r"subcommand.*'fitt' .*choose from 'fit', .*'convert'", id="wrong-command"),
    pytest.param("fit", r"nothing to train was given: add --config FILE", id="no-config"),
    pytest.param("fit --config", r"--config: expected one argument; give it", id="config-without-name"),
    pytest.param(
        "fit --config nope", r"--config nope: .*neither such a file nor .*recipes are .*cifar10", id="unknown-config"
    ),
    pytest.param("fit --config $files", r"--config .*files.*neither such a file", id="config-is-a-folder"),
    pytest.param("fit --config /dev/null", r"--config /dev/null: .*neither such a file", id="config-is-dev-null"),
    pytest.param("fit $tiny --nonsense 1", r"unrecognized arguments: --nonsense.*--help", id="unknown-argument"),
    pytest.param("fit $tiny --model.backbone.topkk 1", r"backbone\.topkk.*--help", id="unknown-argument-of-model"),
    pytest.param(
        "fit $tiny --data.imagesize 1", r"imagesize: there is no such setting; correct", id="unknown-data-arg"
    ),
]

CONFIG_FILES = [
    pytest.param(
        "fit $tiny --config $files/unknown_group.yaml",
        r"topkk: there is no such setting of backbone; correct it \(--print_config",
        id="unknown-key-in-a-group",
    ),
    pytest.param(
        "fit $tiny --config $files/unknown_trainer.yaml",
        r"trainer\.max_epoch: there is no such setting of fit; correct it",
        id="unknown-key-of-the-trainer",
    ),
    pytest.param(
        "fit $tiny --config $files/unknown_top.yaml", r"traner\.max_epochs: there is no", id="unknown-section"
    ),
    pytest.param(
        "fit $tiny --config $files/malformed.yaml", r"malformed\.yaml: line 2: not YAML .*write", id="malformed"
    ),
    pytest.param("fit $tiny --config $files/tabs.yaml", r"tabs\.yaml: line 2: not YAML .*write", id="tabs"),
    pytest.param(
        "fit $tiny --config $files/list.yaml", r"list\.yaml: holds a list instead of settings; write", id="list"
    ),
    pytest.param(
        "fit $tiny --config $files/twice.yaml", r"twice\.yaml: line 4: lr is given twice; remove one", id="key-twice"
    ),
    pytest.param("fit $tiny --config $files/no_trainer.yaml", r"trainer: None holds no settings; w", id="no-trainer"),
    pytest.param("fit $tiny --config=$files/note.txt", r"note\.txt: holds a str instead of settings; write", id="text"),
    pytest.param("fit $tiny --config $files/empty.yaml", r"empty\.yaml: holds nothing .*; write", id="empty-config"),
    pytest.param("fit $tiny --config $files/bytes.yaml", r"bytes\.yaml: not a text file in UTF-8; write", id="binary"),
]

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

BACKBONE = [
    pytest.param("fit $tiny --model.backbone.topk 5", r"stage 1: topk=5 is outside 1\.\.4.*choose", id="topk-large"),
    pytest.param("fit $tiny --model.backbone.topk 0", r"stage 1: topk=0 is outside 1\.\.4", id="topk-zero"),
    pytest.param(
        "fit $tiny --model.backbone.topk [1,all,all]", r"topk=.* has 3 values for 2 stages; give", id="topk-list"
    ),
    pytest.param(
        "fit $tiny --model.backbone.topk [1,1]", r"stage 2: topk=1 .*full attention; write 'all'", id="topk-full"
    ),
    pytest.param(
        "fit $tiny --data.image_size 2 --model.backbone.stem patch",
        r"stage 2 of a 2x2 image: nothing is left of the map; use larger images",
        id="image-too-small",
    ),
    pytest.param("fit $tiny --data.image_size 0", r"image_size: 0 must be 1 or more", id="image-size-zero"),
    pytest.param("fit $tiny --model.backbone.regions 0", r"stage 1: regions=0 must be at least 1", id="regions-zero"),
    pytest.param("fit $tiny --model.backbone.head_dim 12", r"stage 1: 16 .*head_dim=12; change dims or", id="head-dim"),
    pytest.param(
        "fit $tiny --model.backbone.full_heads 5", r"stage 2: 32 .*5 heads; change .*full_heads", id="full-heads"
    ),
    pytest.param("fit $tiny --model.backbone.dims [15,32]", r"dims=\[15, 32\]: .*an even number", id="odd-channels"),
    pytest.param(
        "fit $tiny --model.backbone.depths [1,1,1]", r"depths=\[1, 1, 1\] and dims=.* for each stage", id="depths"
    ),
    pytest.param(
        "fit $tiny --model.backbone.attention [bra]", r"attention=.* 1 values for 2 stages; give", id="patterns"
    ),
    pytest.param("fit $tiny --model.backbone.cpe 2", r"cpe=2 is not a kernel size; use 0 .*odd", id="cpe-even"),
    pytest.param(
        "fit $tiny --model.backbone.lce 4", r"stage 1: lce=4 is not a kernel size; use 0 .*odd", id="lce-even"
    ),
    pytest.param(
        "fit $tiny --model.backbone.stem_stride 3", r"stem_stride=3 is not supported; use 4", id="stem-stride"
    ),
    pytest.param(
        "fit $tiny --model.backbone.mlp_ratio -1", r"stage 1: mlp_ratio=-1\.0 leaves .*use a number", id="mlp"
    ),
    pytest.param(
        "fit $tiny --model.backbone.drop_path_rate 1", r"drop_path_rate=1\.0 must be .*below 1", id="drop-path"
    ),
    pytest.param(
        "fit $tiny --model.backbone.in_chans 1", r"in_chans=1, but the images have 3 channels; make", id="in-chans"
    ),
]

FACTORS = [
    pytest.param("fit $tiny --model.backbone.routing best", r"backbone\.routing: 'best' .*'topk'", id="routing"),
    pytest.param(
        "fit $tiny --model.backbone.routing [topk,fixed]",
        r"backbone\.routing: .*'fixed'.*'random_fixed'",
        id="routings",
    ),
    pytest.param(
        "fit $tiny --model.backbone.routing_pool median", r"routing_pool: 'median' .*'mean', 'max'", id="pool"
    ),
    pytest.param("fit $tiny --model.backbone.routing_heads own", r"routing_heads: 'own' .*'per_head'", id="heads"),
    pytest.param(
        "fit $tiny --model.backbone.routing_gradient 2", r"routing_gradient: .*2.*expected bool", id="gradient"
    ),
    pytest.param(
        "fit $tiny --model.backbone.routing_pool [max,max,max]",
        r"routing_pool=.* has 3 values for 2 stages; give one value",
        id="pool-list",
    ),
    pytest.param("fit $tiny --model.backbone.regions best", r"backbone\.regions: 'best' .*'auto'", id="regions-word"),
    pytest.param(
        "fit $tiny --model.backbone.regions auto --model.backbone.topk all",
        r"stage 1: regions=auto .* give topk as a number",
        id="auto-with-all",
    ),
    pytest.param(
        "fit $tiny --model.backbone.regions auto --model.backbone.padding released",
        r"stage 1: regions=auto does not go with padding='released'; use padding='masked'",
        id="auto-with-padding",
    ),
    pytest.param(
        "fit $tiny --model.backbone.regions auto --model.backbone.topk [0,all]",
        r"stage 1: topk=0 must be at least 1",
        id="auto-with-zero",
    ),
    pytest.param(
        "fit $tiny --model.backbone.regions [[2,0],2]",
        r"stage 1: regions=\(2, 0\) must be at least 1",
        id="regions-pair",
    ),
    pytest.param(
        "fit $tiny --model.backbone.attention window --model.backbone.window 0",
        r"stage 1: window=0 must be at least 1",
        id="window",
    ),
    pytest.param(
        "fit $tiny --model.backbone.attention stripes --model.backbone.stripe_width 1",
        r"stage 1: stripes take two heads.*lower head_dim",
        id="one-head",
    ),
    pytest.param(
        "fit $tiny --model.backbone.attention stripes --model.backbone.head_dim 8",
        r"stripe_width=\[1, 2, 7, 7\] has 4 values for 2 stages; give one value, or one for each stage",
        id="stripes-list",
    ),
    pytest.param(
        "fit $tiny --model.backbone.attention stripes --model.backbone.head_dim 8 --model.backbone.stripe_width -1",
        r"stage 1: stripe_width=-1 must be at least 1",
        id="stripe-width",
    ),
    pytest.param(
        "fit $tiny --model.backbone.attention dilated --model.backbone.dilation 0",
        r"stage 1: dilation=0 must be at least 1",
        id="no-dilation",
    ),
    pytest.param(
        "fit $tiny --model.backbone.attention deformable --model.backbone.deform_stride [0,1]",
        r"stage 1: deform_stride=0 must be at least 1",
        id="deform-stride",
    ),
    pytest.param(
        "fit $tiny --model.backbone.attention deformable --model.backbone.deform_stride 1 "
        "--model.backbone.deform_groups 3",
        r"stage 1: 1 heads do not divide into deform_groups=3; choose a divisor of 1",
        id="deform-groups",
    ),
    pytest.param(
        "fit $tiny --model.backbone.attention deformable --model.backbone.deform_stride 1 "
        "--model.backbone.deform_range 0",
        r"stage 1: deform_range=0\.0 must be above 0",
        id="deform-range",
    ),
    pytest.param(
        "fit $tiny --model.backbone.shift sideways", r"backbone\.shift: 'sideways' .*expected bool", id="shift"
    ),
    pytest.param("fit $tiny --model.optim.name adam", r"optim\.name: 'adam' .*'adamw', 'sgd', 'muon'", id="optimiser"),
]

WEIGHTS = [
    pytest.param("fit $tiny --model.weights gone.pth", r"gone\.pth: there is no such file; give the path", id="gone"),
    pytest.param("fit $tiny --model.weights $files", r"files.*: there is no such file; give the path", id="folder"),
    pytest.param("fit $tiny --model.weights /dev/null", r"/dev/null: there is no such file; give", id="dev-null"),
    pytest.param(
        "fit $tiny --model.weights $files/half.pth", r"half\.pth: damaged .*; fetch or save it again", id="half"
    ),
    pytest.param(
        "fit $tiny --model.weights $files/note.txt", r"note\.txt: damaged .*; fetch or save", id="weights-text"
    ),
    pytest.param(
        "fit $tiny --model.weights $files/empty.yaml", r"empty\.yaml: damaged .*; fetch or save", id="no-bytes"
    ),
    pytest.param(
        "fit $tiny --model.weights $files/text.safetensors",
        r"text\.safetensors: not a readable safetensors file .*fetch or save it again",
        id="safetensors-text",
    ),
    pytest.param(
        "fit $tiny --model.weights $files/code.pth",
        r"code\.pth: holds something else than tensors .*would run io\.open\).*only files you trust",
        id="pickle-with-code",
    ),
    pytest.param(
        "fit $tiny --model.weights $files/other.pth",
        r"other\.pth: the weights do not fit this model, nothing was loaded: .*of another shape .*; use the settings",
        id="other-architecture",
    ),
    pytest.param(
        "fit $tiny --model.weights $files/other.pth --model.weights_copy ema",
        r"other\.pth: holds no ema weights, only raw; leave .*weights_copy.* out",
        id="no-such-copy",
    ),
    pytest.param("fit $tiny --ckpt_path gone.ckpt", r"gone\.ckpt: there is no such file; give the path", id="no-ckpt"),
    pytest.param("test $tiny --ckpt_path $files/half.pth", r"half\.pth: damaged .*; fetch or save", id="ckpt-half"),
    pytest.param(
        "fit $tiny --ckpt_path $files/other.pth",
        r"other\.pth: is not a checkpoint of a training run .*set model\.init_args\.weights instead",
        id="released-file-to-resume",
    ),
    pytest.param(
        "fit $tiny --ckpt_path $files/foreign.ckpt",
        r"foreign\.ckpt: was made by the task 'other\.Model', which is none .*set model\.init_args\.weights",
        id="ckpt-of-another-program",
    ),
    pytest.param(
        "fit $tiny --ckpt_path $files/light.ckpt",
        r"light\.ckpt: was saved without the optimiser's state .*set model\.init_args\.weights",
        id="ckpt-without-optimiser",
    ),
    pytest.param(
        "validate $tiny --ckpt_path $files/keys.ckpt",
        r"keys\.ckpt: the weights do not fit this model, nothing was loaded: .*missing .*unknown",
        id="ckpt-with-other-keys",
    ),
    pytest.param(
        "validate $tiny --data.dataset $files/good --data.batch_size 8 --ckpt_path $files/trained.ckpt",
        r"classes of the data are not those of the trained network: x, y are not among 0, .*say nothing about names",
        id="ckpt-for-other-classes",
    ),
    pytest.param(
        "fit $tiny --ckpt_path hpc", r"ckpt_path=hpc: no run .* hpc_ckpt_N.ckpt in .*--ckpt_path FILE", id="ckpt-hpc"
    ),
    pytest.param("test $tiny", r"test has no trained weights to use: give --ckpt_path", id="test-without-weights"),
    pytest.param(
        "predict $tiny --ckpt_path last",
        r"ckpt_path=last: no run .* last.ckpt in runs/tiny; .*--ckpt_path FILE",
        id="last",
    ),
    pytest.param("fit $tiny --ckpt_path", r"--ckpt_path: expected one argument; give it", id="ckpt-path-without-name"),
]

PREDICTIONS = [
    pytest.param(
        "predict $tiny --predictions.path $files/note.txt --model.weights $files/trained.ckpt",
        r"predictions\.path=.*note\.txt exists already; choose another file",
        id="predictions-exist",
    ),
    pytest.param(
        "predict $tiny --predictions.path gone/p.csv --model.weights $files/trained.ckpt",
        r"predictions\.path=.*folder gone does not exist; make",
        id="no-folder",
    ),
    pytest.param(
        "predict $tiny --data.dataset $files/bare --model.weights $files/other.pth",
        r"num_classes is unknown, for the data is not labelled: give --ckpt_path, or set",
        id="classes-of-unlabelled-images",
    ),
]

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

TRAINER = [
    pytest.param(
        "fit $tiny --trainer.accelerator tup", r"trainer: .*accelerator='tup'.* names are: auto", id="accelerator"
    ),
    pytest.param("fit $tiny --trainer.devices x", r"trainer: `devices` .*should be an int > 0", id="devices-text"),
    pytest.param(
        "fit $tiny --trainer.devices 0", r"trainer: .*devices='0'.* not a valid input using cpu", id="no-devices"
    ),
    pytest.param("fit $tiny --trainer.strategy ddpp", r"trainer: .*strategy='ddpp'.*choices: auto, ddp", id="strategy"),
    pytest.param("fit $tiny --trainer.max_epochs two", r"trainer\.max_epochs: 'two' .*expected int", id="epochs-text"),
    pytest.param(
        "fit $tiny --trainer.max_epochs -3", r"trainer: `max_epochs` must be .*-1\. You .*-3", id="epochs-negative"
    ),
    pytest.param(
        "fit $tiny --trainer.max_epochs -1", r"length of the run is unknown: set trainer\.max_steps", id="endless"
    ),
    pytest.param("fit $tiny --trainer.precision 12", r"trainer\.precision: '12' .*'bf16-mixed'", id="precision"),
    pytest.param("fit $tiny --trainer.limit_train_batches 2.5", r"trainer: .*2\.5 for limit_train_batches", id="limit"),
    pytest.param(
        "fit $tiny --trainer.accumulate_grad_batches 0", r"trainer\.accumulate_grad_batches=0 must be", id="grad"
    ),
    pytest.param(
        "fit $tiny --trainer.check_val_every_n_epoch 0", r"trainer\.check_val_every_n_epoch=0 must be", id="every"
    ),
    pytest.param(
        "fit $tiny --trainer.val_check_interval 0", r"trainer\.val_check_interval=0.* must be above", id="interval"
    ),
    pytest.param(
        "fit $tiny --trainer.val_check_interval 100",
        r"trainer: `val_check_interval` \(100\) must be less than",
        id="interval-100",
    ),
    pytest.param(
        "fit $tiny --trainer.max_time 5", r"trainer: .*not a valid duration. Expected .*DD:HH:MM:SS", id="max-time"
    ),
    pytest.param(
        "fit $tiny --trainer.logger.save_dir $files/note.txt",
        r"note\.txt is a file, where a folder is to be; choose another place",
        id="run-folder-is-a-file",
    ),
    pytest.param(
        "fit $tiny --trainer.callbacks.monitor val/nope",
        r"monitor='val/nope'.*could not find.*'val/acc1'",
        id="monitor",
    ),
]

TOOLS = [
    pytest.param("convert", r"arguments are required: src, dst; give it", id="convert-nothing"),
    pytest.param(
        "convert $files/other.pth o.pth", r"o\.pth: .*is a \.safetensors file; give it that suffix", id="suffix"
    ),
    pytest.param(
        "convert gone.pth o.safetensors", r"gone\.pth: there is no such file; give the path", id="convert-gone"
    ),
    pytest.param("convert $files/note.txt o.safetensors", r"note\.txt: damaged .*; fetch", id="convert-text"),
    pytest.param("convert $files/code.pth o.safetensors", r"code\.pth: .*only files you trust", id="convert-code"),
    pytest.param(
        "convert $files/other.pth $files/text.safetensors",
        r"text\.safetensors: exists already; remove it or",
        id="exists",
    ),
    pytest.param(
        "convert $files/other.pth no/o.safetensors", r"folder no does not exist; make it first", id="convert-folder"
    ),
    pytest.param(
        "convert $files/other.pth o.safetensors --copy both", r"copy: 'both' .*'raw', 'ema'", id="convert-copy"
    ),
    pytest.param(
        "convert $files/other.pth o.safetensors --copy ema", r"no ema weights, only raw; leave copy", id="no-ema"
    ),
    pytest.param("profile --model biformer_huge", r"model: 'biformer_huge' .*'biformer_tiny'", id="profile-model"),
    pytest.param(
        "profile --size 0", r"size=0 must be one or two positive numbers, such as 224", id="profile-size-zero"
    ),
    pytest.param(
        "profile --size [1,2,3]", r"size=\[1, 2, 3\] must be one or two positive numbers", id="profile-three-sizes"
    ),
    pytest.param("profile --size big", r"size: 'big' .*expected int, a list of", id="profile-size-text"),
    pytest.param(
        "profile --size 16 --backbone.stem patch",
        r"stage 4 of a 16x16 image: nothing is left",
        id="profile-image-too-small",
    ),
    pytest.param("profile --device cuda", r"device='cuda' is not there; use cpu", id="profile-device"),
    pytest.param("profile --batch_size 0", r"batch_size=0 must be at least 1", id="profile-batch-size"),
    pytest.param("profile --backbone.topk [1,2]", r"topk=\[1, 2\] has 2 values for 4 stages; give", id="profile-topk"),
    pytest.param("profile extra", r"unrecognized arguments: extra; --help", id="profile-extra"),
]

COSTS = [
    pytest.param("complexity --cells {}", r"cells is empty; name at least one network", id="no-cells"),
    pytest.param("complexity --cells bra", r"cells: 'bra' .*expected dict", id="cells-not-a-mapping"),
    pytest.param(
        "complexity --cells '{a: {attention: bra, topk: 99}}'",
        r"cells\.a: stage 1: topk=99 is outside 1\.\.49.*choose",
        id="cell-that-cannot-work",
    ),
    pytest.param("complexity --cells '{a: {attention: ful}}'", r"attention: 'ful' .*'bra', 'full'", id="cell-pattern"),
    pytest.param(
        "complexity --cells '{a: {topkk: 1}}'", r"topkk: there is no such setting; correct", id="cell-unknown"
    ),
    pytest.param("complexity --sizes [0,224]", r"sizes: 0 must be positive; give numbers or", id="sizes-zero"),
    pytest.param("complexity --sizes [224,[64,-1]]", r"sizes: \(64, -1\) must be positive", id="sizes-negative-pair"),
    pytest.param("complexity --sizes [224,224]", r"sizes=\[224, 224\]: .*two areas or more; add", id="sizes-equal"),
    pytest.param("complexity --sizes []", r"sizes=\[\]: .*two areas or more; add a size", id="sizes-empty"),
    pytest.param("complexity --sizes [big]", r"sizes: .*'big'.*expected a list of", id="sizes-text"),
    pytest.param(
        "complexity --cells '{a: {stem: patch}}' --sizes [16,48]",
        r"cells\.a: stage 4 of a 16x16 image: nothing is left of the map",
        id="sizes-too-small",
    ),
    pytest.param("complexity --num_classes -1", r"num_classes=-1 must be at least 0", id="complexity-classes"),
    pytest.param("complexity --out $files", r"complexity\.csv exists already; remove it or choose", id="out-taken"),
    pytest.param("complexity --out $files/note.txt", r"note\.txt: is not a folder; choose another", id="out-is-a-file"),
    pytest.param(
        "profile --backbone.attention deformable --backbone.deform_groups 3",
        r"stage 1: 2 heads do not divide into deform_groups=3; choose a divisor",
        id="profile-deform-groups",
    ),
    pytest.param(
        "profile --backbone.routing best", r"backbone\.routing: 'best' .*'topk', 'random'", id="profile-routing"
    ),
    pytest.param(
        "profile --backbone.regions auto --backbone.topk all --backbone.attention bra",
        r"stage 1: regions=auto .*give topk as a number",
        id="profile-auto-with-all",
    ),
    pytest.param("profile --num_classes -1", r"num_classes=-1 must be at least 0", id="profile-classes"),
]

SEE = "visualize --checkpoint $files/trained.ckpt --image $files/folders/train/x/02.png --out o"
NEEDS = "visualize needs --checkpoint FILE, --image FILE and --out FOLDER"
VISUALIZE = [
    pytest.param("visualize", f"checkpoint: none was given; {NEEDS}", id="visualize-nothing"),
    pytest.param(
        "visualize --checkpoint $files/trained.ckpt --out o", f"image: none was given; {NEEDS}", id="visualize-no-image"
    ),
    pytest.param(f"{SEE} --out null", f"out: none was given; {NEEDS}", id="visualize-nowhere"),
    pytest.param(f"{SEE} --checkpoint gone.ckpt", r"gone\.ckpt: there is no such file; give", id="visualize-gone"),
    pytest.param(f"{SEE} --checkpoint $files/half.pth", r"half\.pth: damaged .*; fetch or save", id="visualize-half"),
    pytest.param(f"{SEE} --checkpoint $files/code.pth", r"code\.pth: .*only files you trust", id="visualize-code"),
    pytest.param(
        f"{SEE} --checkpoint $files/other.pth",
        r"other\.pth: the weights do not fit this model, .*; use the settings of the model",
        id="visualize-other-network",
    ),
    pytest.param(
        f"{SEE} --checkpoint $files/keys.ckpt",
        r"the weights do not fit this model, nothing was loaded: 59 missing .*; give the checkpoint of this model",
        id="visualize-other-keys",
    ),
    pytest.param(
        f"{SEE} --checkpoint $files/foreign.ckpt",
        r"foreign\.ckpt: was made by a task that is none of this version's; update",
        id="visualize-another-task",
    ),
    pytest.param(
        f"{SEE} --backbone.topk 2",
        r"backbone: .*trained\.ckpt brings its own network along; leave the --backbone options out",
        id="visualize-two-networks",
    ),
    pytest.param(
        f"{SEE} --checkpoint $files/other.pth --backbone.depths [1,1] --backbone.dims [32,64] "
        "--backbone.attention full --backbone.topk all",
        r"other\.pth: no stage of this network has bi-level routing .*; give a network that routes",
        id="visualize-without-routing",
    ),
    pytest.param(f"{SEE} --image gone.jpg", r"image=gone\.jpg: there is no such file; give", id="visualize-no-photo"),
    pytest.param(f"{SEE} --image $files", r"image=.*files.*: there is no such file; give", id="visualize-image-folder"),
    pytest.param(
        f"{SEE} --image $files/note.txt",
        r"note\.txt: the image cannot be read \(not an image.*\); give another photo, or save it again",
        id="visualize-image-text",
    ),
    pytest.param(
        f"{SEE} --image $files/folders/train/x/00.png",
        r"00\.png: the image cannot be read \(zero bytes are stored\); give another photo",
        id="visualize-empty-image",
    ),
    pytest.param(
        f"{SEE} --point 1.5,0", r"point=1\.5,0\.0 lies outside the image; give x and y", id="visualize-outside"
    ),
    pytest.param(f"{SEE} --point nan,0", r"point=nan,0\.0 lies outside the image; give x and y", id="visualize-nan"),
    pytest.param(f"{SEE} --point here", r"point='here' is not a point; give x and y", id="visualize-point-text"),
    pytest.param(f"{SEE} --point 0.1", r"point='0\.1' is not a point; give x and y", id="visualize-point-number"),
    pytest.param(f"{SEE} --size 0", r"size=0 must be at least 1, the pixels of .*side", id="visualize-size-zero"),
    pytest.param(f"{SEE} --size big", r"size: 'big' .*expected int", id="visualize-size-text"),
    pytest.param(f"{SEE} --mean [0,0]", r"mean: '\[0, 0\]' .*expected tuple\[", id="visualize-two-means"),
    pytest.param(f"{SEE} --std [0,1,1]", r"std=\[0.*\] must be three finite numbers above 0", id="visualize-std"),
    pytest.param(f"{SEE} --out $files/good", r"out=.*good is not empty, .*; give a new folder", id="visualize-full"),
    pytest.param(f"{SEE} --out $files/note.txt", r"out=.*note\.txt is a file; give a new folder", id="visualize-file"),
    pytest.param(f"{SEE} extra", r"unrecognized arguments: extra; --help", id="visualize-extra"),
]

STUDIES = [
    pytest.param("sweep", r"arguments are required: command; give it", id="sweep-without-command"),
    pytest.param("sweep walk", r"invalid choice: 'walk' .*choose from .*run", id="sweep-wrong-command"),
    pytest.param("sweep run", r"arguments are required: study; give it", id="sweep-without-study"),
    pytest.param("sweep run nope.yaml", r"nope\.yaml: No such file or directory; give the path", id="sweep-no-file"),
    pytest.param("sweep run $files/malformed.yaml", r"malformed\.yaml: line 2: not YAML", id="sweep-malformed"),
    pytest.param("sweep run $files/study_key.yaml", r"study_key\.yaml: .*plann.*did you mean plan", id="sweep-key"),
    pytest.param("sweep run $files/study_cell.yaml", r"cell .*topk=99.* regions", id="sweep-cell-that-cannot-be"),
    pytest.param(
        "sweep run $files/study_setting.yaml",
        r"cell topk=1 .*backbone\.topkk.*--help lists",
        id="sweep-unknown-setting",
    ),
    pytest.param(
        "sweep run $files/topk.yaml --workers 0", r"workers: 0 is not a whole number above 0", id="sweep-workers"
    ),
    pytest.param(
        "sweep run $files/topk.yaml --frobnicate", r"unrecognized argument: --frobnicate", id="sweep-argument"
    ),
    pytest.param("sweep run $files/topk.yaml --data.seed", r"--data\.seed needs a value; give it", id="sweep-no-value"),
    pytest.param(
        "sweep run $files/topk.yaml --model.backbone.topk 2",
        r"factors\.topk varies model\.backbone\.topk",
        id="sweep-varied",
    ),
    pytest.param(
        "sweep run $files/topk.yaml --devices 0,1,2 --devices-per-trial 2",
        r"3 devices do not divide",
        id="sweep-devices",
    ),
    pytest.param(
        "sweep run $files/topk.yaml --devices 0,0",
        r"--devices 0,0: names a device twice; remove one",
        id="sweep-twice",
    ),
    pytest.param(
        "sweep run $files/topk.yaml --devices 0 --workers 2",
        r"make 1 slots of 1; give more devices",
        id="sweep-places",
    ),
    pytest.param(
        "sweep run $files/topk.yaml --storage nope://x",
        r"storage=nope://x: cannot be opened .*check",
        id="sweep-storage",
    ),
    pytest.param(
        "sweep run $files/topk.yaml --storage grpc://x",
        r"grpc://x: is not grpc://HOST:PORT; give both",
        id="sweep-proxy",
    ),
    pytest.param("sweep status $files", r"holds no study that was run; give its folder", id="sweep-status-of-nothing"),
    pytest.param("sweep report $files", r"holds no study that was run; give its folder", id="sweep-report-of-nothing"),
    pytest.param("sweep report nope.zip", r"nope\.zip: No such file; give the bundle", id="sweep-report-no-bundle"),
    pytest.param("sweep report $files/broken.zip", r"broken\.zip: cannot be unpacked", id="sweep-report-broken-bundle"),
    pytest.param("sweep report $files/empty.zip", r"empty\.zip: holds 0 studies, not one", id="sweep-report-empty"),
    pytest.param("sweep compare $files/topk.yaml", r"takes at least two studies; give another", id="sweep-compare-one"),
    pytest.param("sweep compare a b", r"a: holds no study that was run; give its folder", id="sweep-compare-nothing"),
    pytest.param(
        "sweep export $files/topk.yaml --checkpoints", r"--checkpoints belongs to --bundle", id="sweep-checkpoints"
    ),
    pytest.param(
        "sweep export $files/topk.yaml --bundle $files/empty.zip", r"exists already; choose another", id="sweep-bundle"
    ),
    pytest.param(
        "sweep export $files/topk.yaml", r"holds no study that was run; give its", id="sweep-export-of-nothing"
    ),
    pytest.param(
        "sweep status x --workers 2", r"unrecognized arguments: --workers 2; --help", id="sweep-status-argument"
    ),
]

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

ROWS = [
    *COMMAND_LINES,
    *CONFIG_FILES,
    *TYPES,
    *RANGES,
    *BACKBONE,
    *FACTORS,
    *WEIGHTS,
    *PREDICTIONS,
    *DATA,
    *TRAINER,
    *TOOLS,
    *COSTS,
    *VISUALIZE,
    *STUDIES,
    *SEGMENTATION_DATA,
    *DETECTION,
    *MIXED_UP,
]

# One that the parser sees, one that a constructor sees, and one from the middle of a run, in a data worker.
AS_SUBPROCESS = [
    *(row for row in ROWS if row.id in ("batch-size-fraction", "topk-large")),
    pytest.param(
        "fit $tiny --data.dataset $files/cut --data.batch_size 24 --data.num_workers 1",
        r"split 'train', row 5: the image cannot be read .*on_bad_image: skip",
        id="truncated-image-in-a-worker",
    ),
]


class Code:
    def __reduce__(self):
        return (open, ("ran.txt", "w"))


@pytest.fixture(scope="module")
def files(root, tmp_path_factory):
    """A user's files: configs, checkpoints and data sets, each with one thing wrong."""
    folder = tmp_path_factory.mktemp("files")
    for name, text in {
        "unknown_group.yaml": "model:\n  init_args:\n    backbone:\n      topkk: 3\n",
        "unknown_trainer.yaml": "trainer:\n  max_epoch: 3\n",
        "unknown_top.yaml": "traner:\n  max_epochs: 3\n",
        "malformed.yaml": "model: [1, 2\nx: y: z\n",
        "tabs.yaml": "model:\n\tinit_args: 1\n",
        "list.yaml": "- a\n- b\n",
        "twice.yaml": "model:\n  init_args:\n    optim: {lr: 0.1,\n      lr: 0.2}\n",
        "no_trainer.yaml": "trainer: null\n",
        "empty.yaml": "",
        "note.txt": "hello world\n",
        "topk.yaml": _study("[1, 2]"),
        "study_key.yaml": _study("[1, 2]") + "plann: 1\n",
        "study_cell.yaml": _study("[1, 99]"),
        "study_setting.yaml": _study("[1, 2]").replace("topk\n", "topkk\n"),
        "complexity.csv": "mine\n",
        "text.safetensors": "hello world\n",
        "segment.yaml": _SEGMENT,
        "detect.yaml": _DETECT,
        "classifier.yaml": "model: ClassificationTask",
        "segmenter.yaml": "model: SegmentationTask",
        "detector.yaml": "model: DetectionTask",
    }.items():
        (folder / name).write_text(text)
    (folder / "bytes.yaml").write_bytes(bytes(range(256)))
    (folder / "broken.zip").write_bytes(b"PK but no more")
    with zipfile.ZipFile(folder / "empty.zip", "w"):
        pass
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
        # datasets 5 waits five seconds after each pass through a shuffled stream
        patch.setattr(datasets.config, "SLEEP_TIME_ON_THREADS_SHUTDOWN", 0, raising=False)
        _make_checkpoints(root, folder, tmp_path_factory.mktemp("trained"), patch)
        _make_data(folder)
        _make_masks(folder)
        _make_objects(folder)
        yield folder


def _make_checkpoints(root, folder, workplace, patch):
    settings = {"depths": (1, 1), "dims": (32, 64), "attention": ("bra", "full"), "topk": (1, "all"), "num_classes": 10}
    torch.save({"model": timm.create_model("biformer_tiny", **settings).state_dict()}, folder / "other.pth")
    content = (folder / "other.pth").read_bytes()
    (folder / "half.pth").write_bytes(content[: len(content) // 2])
    torch.save({"model": Code()}, folder / "code.pth")
    patch.chdir(workplace)
    main(["fit", "--config", str(root / "tests/configs/tiny.yaml"), *ONE_STEP.split()])
    shutil.copy("runs/tiny/version_0/checkpoints/last.ckpt", folder / "trained.ckpt")
    trained = torch.load(folder / "trained.ckpt", weights_only=True)
    renamed = {key.replace("net.", "body."): tensor for key, tensor in trained["state_dict"].items()}
    torch.save({**trained, "state_dict": renamed}, folder / "keys.ckpt")
    torch.save({**trained, "hyper_parameters": {"_class_path": "other.Model", "size": 1}}, folder / "foreign.ckpt")
    del trained["optimizer_states"]
    torch.save(trained, folder / "light.ckpt")


def _picture(row, size=16):
    buffer = io.BytesIO()
    Image.fromarray(np.full((size, size, 3), row % 256, np.uint8)).save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": None}


def _table(labels, cut=(), **columns):
    pictures = [_picture(row) for row in range(len(labels))]
    for row in cut:
        pictures[row]["bytes"] = pictures[row]["bytes"][:60]
    table = datasets.Dataset.from_dict({"image": pictures, "label": labels, **columns})
    return table.cast_column("image", datasets.Image())


def _make_data(folder):
    datasets.disable_progress_bars()

    def save(name, **splits):
        (folder / name).mkdir()
        for split, table in splits.items():
            table.to_parquet(str(folder / name / f"{split}.parquet"))

    names = ["x", "y"] * 12
    named = datasets.ClassLabel(names=["x", "y"])
    plain = _table(names)
    two_images = plain.rename_column("image", "a").add_column("b", [_picture(0)] * 24)
    save("good", train=plain, validation=plain)
    save("no_image", train=datasets.Dataset.from_dict({"x": [1] * 8, "label": [0, 1] * 4}))
    save("two_images", train=two_images.cast_column("b", datasets.Image()))
    save("two_labels", train=_table(names, one=[0, 1] * 12, two=[0, 1] * 12).remove_columns("label"))
    save("floats", train=_table([0.5, 1.5] * 12))
    save("missing_label", train=_table([0, 1, 0, 1, None, *([0, 1] * 9), 1]))
    save("unlabelled", train=_table([-1] * 24))
    save("unknown_label", train=plain, test=_table(["x", "z"] * 4))
    save("hidden_test", train=_table([0, 1] * 12).cast_column("label", named), test=_table([-1] * 8))
    save("cut", train=_table(names, cut=[5]).cast_column("label", named), validation=plain.cast_column("label", named))
    save("alone", train=_table(["x"] * 23 + ["y"]))
    save("bare", test=plain.remove_columns("label"))
    (folder / "hollow").mkdir()
    (folder / "garbage").mkdir()
    (folder / "garbage/train.parquet").write_bytes(b"not Parquet")
    for row in range(24):
        path = folder / f"folders/train/{names[row]}/{row:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_picture(row)["bytes"] if row else b"")


def _make_masks(folder):
    """Four rows to train on and one to validate on; of one kind each, the last to train on has a bad mask."""
    good, square = _mask(np.repeat([[0, 1]], 64, 0).repeat(32, 1)), np.zeros((64, 64), np.uint8)

    def save(name, mask=good, change=lambda table: table, names=None):
        (folder / "masks" / name).mkdir(parents=True)
        for split, masks in (("train", [good, good, good, mask]), ("validation", [good])):
            pictures = [_picture(row, 64) for row in range(len(masks))]
            table = datasets.Dataset.from_dict({"image": pictures, "mask": masks})
            table = table.cast_column("image", datasets.Image()).cast_column("mask", datasets.Image())
            change(table).to_parquet(str(folder / "masks" / name / f"{split}.parquet"))
        if names is not None:
            (folder / "masks" / name / "id2label.json").write_text(names)

    def two(table):
        pictures = [good] * len(table)
        return table.rename_column("mask", "a").add_column("b", pictures).cast_column("b", datasets.Image())

    save("good")
    save("names", names='{"0": "a", "2": "b"}')
    save("json", names="a, b")
    save("none", change=lambda table: table.remove_columns("mask"))
    save("several", change=two)
    save("colour", _mask(np.stack([square] * 3, -1)))
    save("jpeg", _mask(square, "JPEG"))
    save("size", _mask(square[:32]))
    save("label", _mask(square + 9))
    save("reduced", _mask(square + 3))
    save("gone", {"bytes": None, "path": None})
    save("cut", {"bytes": good["bytes"][:50], "path": None})


def _mask(labels, kind="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(labels.astype(np.uint8)).save(buffer, kind)
    return {"bytes": buffer.getvalue(), "path": None}


def _make_objects(folder):
    """Four images to train on, of one kind each the last with a bad object, and some to validate on."""
    box, good = [4.0, 4.0, 20.0, 20.0], objects.objects_of(0)
    masks = [_mask(np.ones((objects.HEIGHT, objects.WIDTH - narrower), np.uint8)) for narrower in (0, 0, 8)]

    def save(name, train=None, validation=(good,), **renamed):
        for split, rows in (("train", train or [good] * 4), ("validation", validation)):
            (folder / "objects" / name).mkdir(parents=True, exist_ok=True)
            made = objects.table([*rows, *(train or [good])], **renamed).select(range(len(rows)))
            made.to_parquet(str(folder / "objects" / name / f"{split}.parquet"))

    save("good")
    save("nan", [good] * 3 + [{**good, "bbox": [box, box, [1.0, 2.0, np.nan, 4.0]]}])
    save("three", [good] * 3 + [{**good, "bbox": [box, [1.0, 2.0, 3.0], box]}])
    save("lengths", [good] * 3 + [{**good, "category": [0, 1]}])
    save("category", [{"bbox": [box], "label": ["cat"]}] * 4, [{"bbox": [box], "label": ["dog"]}])
    save("fractions", [{"bbox": [[0.1, 0.1, 0.5, 0.5]], "category": [0]}] * 4)
    save("masks", [{**good, "mask": masks}] * 4, [{**good, "mask": masks}], pictures="mask")
    save("nothing", validation=[{"bbox": [], "category": []}])
    save("hollow", validation=[])
    task = DetectionTask(**yaml.safe_load(_DETECT)["model"]["init_args"], num_classes=10)
    task.configure_model()
    torch.save({"model": task.net.state_dict()}, folder / "detector.pth")


_SEGMENT = """
model:
  class_path: SegmentationTask
  init_args:
    backbone:
      name: biformer_tiny
      depths: [1, 1, 1, 1]
      dims: [16, 32, 32, 32]
      head_dim: 16
      regions: 2
      topk: [1, 1, 1, all]
data:
  class_path: SegmentationDataModule
  init_args: {image_size: 64, batch_size: 2, num_workers: 0}
trainer:
  accelerator: cpu
  max_epochs: 1
  enable_progress_bar: false
  enable_model_summary: false
  logger:
    class_path: lightning.pytorch.loggers.TensorBoardLogger
    init_args: {save_dir: runs}
"""

_DETECT = (
    _SEGMENT.replace("Segmentation", "Detection")
    .replace("  init_args:\n", "  init_args:\n    head_channels: 8\n", 1)
    .replace("image_size: 64", "image_size: 64, max_size: 128")
)


def _study(values):
    factor = f"  topk:\n    key: model.backbone.topk\n    values: {values}\n"
    return f"question: Which?\nbase: digits\nplan: factorial\nfactors:\n{factor}"


def command_line(text, root, files):
    tiny = f"--config {shlex.quote(str(root / 'tests/configs/tiny.yaml'))}"
    fit = f"fit --config {shlex.quote(str(files / 'segment.yaml'))}"
    detect = f"fit --config {shlex.quote(str(files / 'detect.yaml'))}"
    few = "--data.scenes.train 4 --data.scenes.validation 1 --data.scenes.test 1"
    return shlex.split(
        string.Template(text).safe_substitute(
            tiny=tiny,
            files=files,
            segment=f"{fit} {few}",
            masks=f"{fit} --data.num_classes 2 --data.dataset {shlex.quote(str(files))}/masks",
            detect=f"{detect} {few}",
            objects=f"{detect} --data.dataset {shlex.quote(str(files))}/objects",
            find=f"{detect.replace('fit', 'predict', 1)} {few} --model.weights {shlex.quote(str(files))}/detector.pth",
        )
    )


def snapshot(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def left_behind(folder):
    """What lies in the working directory, without the folder of the run."""
    return [path.name for path in folder.iterdir() if path.name != "runs"]


def check(stderr, message):
    assert stderr.count("\n") == 1, stderr
    assert re.match("error: ", stderr), stderr
    assert re.search(message, stderr), stderr
    assert len(stderr) < 600


@pytest.mark.parametrize(("arguments", "message"), ROWS)
def test_bad_input_gives_one_clear_line(arguments, message, root, files, tmp_path, monkeypatch, capsys):
    if "cuda" in arguments and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["biformer_lit", *command_line(arguments, root, files)])
    before = snapshot(files)
    with pytest.raises(SystemExit) as stopped:
        run()
    assert stopped.value.code == 2
    check(capsys.readouterr().err, message)
    assert snapshot(files) == before
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize(("arguments", "message"), AS_SUBPROCESS)
def test_the_same_in_a_process_of_its_own(arguments, message, root, files, tmp_path):
    before = snapshot(files)
    done = subprocess.run(
        [sys.executable, "-m", "biformer_lit", *command_line(arguments, root, files)],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(root),
            "HF_DATASETS_CACHE": str(tmp_path.parent / "cache"),
            "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
            "PYTHONWARNINGS": "ignore::FutureWarning",  # Lightning's of torch, which pytest ignores too
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines(keepends=True) if not line.startswith(LOG_LINES)]
    check("".join(lines), message)
    assert snapshot(files) == before
    assert left_behind(tmp_path) == []


def test_a_defect_of_ours_keeps_its_traceback(monkeypatch):
    def defect():
        raise ValueError("too many values to unpack")

    monkeypatch.setattr("biformer_lit.cli.main", defect)
    with pytest.raises(ValueError, match="too many values to unpack"):
        run()
