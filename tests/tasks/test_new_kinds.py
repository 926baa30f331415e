"""Kinds of task and data sets of somebody's own: registered by a plug-in, and used like the package's."""

import csv
from pathlib import Path

import pytest

import biformer_lit
from biformer_lit import ClassificationTask, ConfigError, DataError, load_task, register_dataset, register_task
from biformer_lit.cli import main, parse_fit
from biformer_lit.data import ClassificationDataModule
from biformer_lit.kinds import KINDS
from biformer_lit.profiling import measure_config

PLUGIN = str(Path(__file__).with_name("brightness.py"))
SMALL = (
    "--model.backbone.depths=[1,1]", "--model.backbone.dims=[8,16]", "--model.backbone.head_dim=8",
    "--model.backbone.attention=full", "--model.backbone.full_heads=1", "--model.optim.warmup_steps=0",
)  # fmt: skip
OWN = ("--plugin", PLUGIN, "--model", "BrightnessTask", "--data", "BrightnessData", "--data.dataset", "grey_squares")
QUICK = (
    "--trainer.max_epochs=2", "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false", "--data.num_workers=0",
    "--data.batch_size=8", "--trainer.logger.class_path=TensorBoardLogger", "--trainer.logger.init_args.save_dir=logs",
)  # fmt: skip
pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:.*log_every_n_steps")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a checkpoint of the plug-in's task."""
    folder = tmp_path_factory.mktemp("own")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        main(["fit", *OWN, *SMALL, *QUICK, "--model.power=1.5"])
    return folder


def test_a_kind_of_one_s_own_is_trained_and_its_checkpoint_loaded(trained):
    (path,) = trained.glob("logs/**/*.ckpt")
    task = load_task(path)
    assert type(task) is KINDS["brightness"].task
    assert (task.power, task.num_classes) == (1.5, 1)


def test_what_it_predicts_is_written_by_its_own_files(trained, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (path,) = trained.glob("logs/**/*.ckpt")
    main(["predict", *OWN, *QUICK[1:], "--model.power=1.5", *SMALL, "--ckpt_path", str(path)])
    (file,) = tmp_path.glob("logs/**/brightness.csv")
    rows = list(csv.reader(file.read_text().splitlines()))
    assert [int(index) for index, _ in rows] == list(range(8))
    assert len({value for _, value in rows}) == 8


def test_it_is_counted_for_studies(trained):
    config = parse_fit([*OWN[2:], *SMALL])
    parameters, macs = measure_config(config)
    task = KINDS["brightness"].task(**config["model"]["init_args"])
    task.configure_model()
    assert parameters == sum(p.numel() for p in task.net.parameters())
    assert 0 < macs < measure_config(parse_fit([*OWN[2:], *SMALL, "--data.image_size=64"]))[1]


def test_the_data_of_another_kind_is_refused(trained, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    message = (
        "BrightnessData has the brightness of images, but ClassificationTask learns classes of images; set data to "
        "ClassificationDataModule or model to BrightnessTask"
    )
    with pytest.raises(ConfigError, match=message):
        main(["fit", *OWN[:2], "--model", "ClassificationTask", *OWN[4:], *SMALL, *QUICK, "--model.num_classes=3"])


@pytest.mark.parametrize(
    ("name", "task", "data", "problem"),
    [
        ("other", dict, ClassificationDataModule, "task=dict is not derived from BiFormerTask"),
        ("other", biformer_lit.BiFormerTask, ClassificationDataModule, "task=BiFormerTask lacks build_net"),
        ("other", ClassificationTask, ClassificationDataModule, "has kind='classification'; set .* to 'other'"),
        ("classification", ClassificationTask, ClassificationDataModule, "'classification': is registered already"),
        (
            "classification",
            ClassificationTask,
            biformer_lit.HFDataModule,
            "data=HFDataModule has kind=None; set",
        ),
    ],
)
def test_kinds_that_cannot_be_are_refused(name, task, data, problem):
    with pytest.raises(ConfigError, match=problem):
        register_task(name, task, data, teaches="nothing", target="label")


def test_an_unknown_kind_is_named():
    class Lost(ClassificationTask):
        kind = "lost"

    with pytest.raises(ConfigError, match=r"Lost\.kind='lost' is no kind of task; there are classification, "):
        _ = Lost(num_classes=2).row


def test_a_data_set_of_one_s_own_is_opened_by_name(trained):
    data = ClassificationDataModule(dataset="grey_squares")
    assert {name: len(split) for name, split in data.load().items()} == {"train": 16, "validation": 8}
    with pytest.raises(ConfigError, match=r"data\.init_args\.revision: 'main' is for data sets on the hub"):
        ClassificationDataModule(dataset="grey_squares", revision="main")
    stream = ClassificationDataModule(dataset="grey_squares", streaming=True).load()["train"]
    assert len(list(stream)) == 16


@pytest.mark.parametrize(
    ("name", "load", "problem"),
    [
        ("breaks", lambda: 1 / 0, r"'breaks' cannot be loaded \(ZeroDivisionError: division by zero\)"),
        ("a_list", lambda: [1, 2], r"'a_list' is loaded as list \(\[1, 2\]\), not as datasets.Dataset by split"),
        ("of_lists", lambda: {"train": [1]}, r"'of_lists' is loaded as dict \(\['list'\]\)"),
        ("nothing", dict, "'nothing' has no split at all"),
    ],
)
def test_what_a_loader_gets_wrong_is_named(name, load, problem):
    register_dataset(name)(load)
    with pytest.raises(DataError, match=problem):
        ClassificationDataModule(dataset=name).setup("fit")


def test_names_of_data_sets_are_checked():
    with pytest.raises(ConfigError, match="data set 'digits': is registered already"):
        register_dataset("digits")(dict)
    with pytest.raises(ConfigError, match="data set 'A b': is not a name that can be registered"):
        register_dataset("A b")(dict)
    with pytest.raises(ConfigError, match="num_classes=0 must be at least 1"):
        register_dataset("none", num_classes=0)
    with pytest.raises(ConfigError, match="'text' is no function"):
        register_dataset("text")("text")
