"""Classes are compared by name, whichever door they come through."""

import pytest
import torch
from helpers.pets import NAMES, pets, save, split_of, trainer

from biformer_lit import CheckpointError, ClassificationTask, ConfigError, DataError, load_task
from biformer_lit.text.class_names import UnknownClassesError, distinct, numbers_by_name

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers", "ignore:.*log_every_n_steps", "ignore:Be aware that when using"
)


@pytest.fixture
def best(root):
    """A classifier of cat, dog and fish that makes no mistake."""
    return root / "tests/fixtures/v0_1/classification/best.ckpt"


def blank(best, **settings):
    """A task with the network of the checkpoint, and other weights."""
    known = torch.load(best, weights_only=True)["hyper_parameters"]
    kept = {name: known[name] for name in ("backbone", "optim", "mixing", "label_smoothing")}
    return ClassificationTask(**{**kept, **settings})


def accuracy(task, data, stage="test", **settings):
    run = trainer()
    getattr(run, stage)(task, datamodule=data, **settings)
    return float(run.callback_metrics[f"{'val' if stage == 'validate' else stage}/acc1"])


SETS = {
    "another order": (("cat", "dog", "fish"), ("fish", "cat", "dog")),
    "a subset": (("dog", "cat"), ("dog", "cat")),
    "text": (("cat", "fish"), None),
}


@pytest.mark.parametrize("content", SETS.values(), ids=SETS)
@pytest.mark.parametrize("door", ["load_task", "weights", "ckpt_path"])
def test_names_are_the_truth(tmp_path, best, content, door):
    animals, names = content
    data = pets(save(tmp_path, test=split_of(animals, names)))
    if door == "ckpt_path":
        assert accuracy(blank(best), data, ckpt_path=str(best)) == 1.0
        return
    task = load_task(best) if door == "load_task" else blank(best, weights=str(best))
    assert accuracy(task, data) == 1.0
    assert task.class_names == data.class_names == NAMES


OTHERS = {
    "other names": (("bird", "cat", "dog"), None, "bird is not among cat, dog, fish, and fish is missing"),
    "more names": (("bird", *NAMES), None, "bird is not among cat, dog, fish"),
    "another case": (("Cat", "dog"), None, "'Cat' is not 'cat'"),
    "a space": (("cat ", "dog"), None, "'cat ' is not 'cat'"),
    "numbers": (NAMES, {"cat": 0, "dog": 1, "fish": 2}, "numbers say nothing about names"),
}


@pytest.mark.parametrize("content", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("stage", ["test", "predict"])
def test_other_classes_are_refused(tmp_path, best, content, stage):
    animals, values, difference = content
    data = pets(save(tmp_path, test=split_of(animals, values=values)))
    for task in (load_task(best), blank(best, weights=str(best))):
        with pytest.raises(DataError, match=difference) as caught:
            getattr(trainer(), stage)(task, datamodule=data)
        assert "\n" not in str(caught.value)


def test_a_subset_is_said_and_predicted_with_all_classes(tmp_path, best, caplog):
    data = pets(save(tmp_path, test=split_of(("dog", "cat"), ("dog", "cat"))))
    task = load_task(best)
    found = trainer().predict(task, datamodule=data)
    assert "the data has 2 of the network's 3 classes, dog, cat" in caplog.text
    assert torch.cat([batch["probabilities"].argmax(1) for batch in found]).tolist() == [1] * 4 + [0] * 4
    assert task.network_classes.there == [0, 1]


def test_a_subset_may_come_with_the_number_of_all_classes(tmp_path, best):
    folder = save(tmp_path, test=split_of(("dog", "cat"), ("dog", "cat")))
    data = pets(folder, num_classes=3)
    assert accuracy(load_task(best), data) == 1.0
    with pytest.raises(ConfigError, match="num_classes: 3 given, but the data set has 2 classes"):
        data.setup("fit")
    for wrong in (pets(folder, num_classes=1), pets(folder, num_classes=3)):
        with pytest.raises(ConfigError, match=r"num_classes: \d given, but the data set has 2 classes"):
            wrong.setup("test" if wrong._num_classes == 1 else "fit")


def test_each_split_is_read_with_its_own_names(tmp_path, best):
    splits = {
        "train": split_of(NAMES, NAMES),
        "validation": split_of(NAMES, ("fish", "dog", "cat")),
        "test": split_of(("fish", "cat"), ("fish", "cat")),
    }
    folder = save(tmp_path, **splits)
    for settings in ({}, {"streaming": True}):
        task = load_task(best)
        assert accuracy(task, pets(folder, **settings), "validate") == 1.0
        assert accuracy(task, pets(folder, **settings)) == 1.0
    data = pets(folder)
    data.setup("test")
    assert [int(x) for batch in data.test_dataloader() for x in batch["label"]] == [2] * 4 + [0] * 4
    other = save(tmp_path / "other", train=split_of(NAMES, NAMES), test=split_of(("bird", "cat"), ("bird", "cat")))
    with pytest.raises(DataError, match="split 'test': its classes are not those of the training data: bird is not"):
        pets(other).setup("test")


def test_a_validation_split_does_not_move_with_the_network(tmp_path, best):
    folder = save(tmp_path, train=split_of(NAMES, ("fish", "cat", "dog"), count=10))
    data = pets(folder)
    data.setup("validate")
    alone = [int(x) for batch in data.val_dataloader() for x in batch["index"]]
    data = pets(folder)
    assert accuracy(load_task(best), data, "validate") == 1.0
    assert [int(x) for batch in data.val_dataloader() for x in batch["index"]] == alone


def test_a_task_keeps_its_names_on_another_set(tmp_path, best):
    task = blank(best)
    first = save(tmp_path / "a", train=split_of(NAMES, NAMES), validation=split_of(NAMES, NAMES))
    trainer().fit(task, datamodule=pets(first))
    assert task.class_names == NAMES
    task.net.load_state_dict(load_task(best).net.state_dict())
    permuted = pets(save(tmp_path / "b", test=split_of(NAMES, ("fish", "cat", "dog"))))
    assert accuracy(task, permuted) == 1.0
    other = pets(save(tmp_path / "c", test=split_of(("bird", "dog"))))
    with pytest.raises(DataError, match="bird is not among cat, dog, fish"):
        trainer().test(task, datamodule=other)
    # and the data module is free for another network afterwards
    fresh = blank(best)
    trainer().validate(fresh, datamodule=pets(first))
    assert fresh.class_names == NAMES


def test_a_resumed_run_goes_on_with_its_own_numbers(tmp_path, best):
    names = ("fish", "cat", "dog")
    data = pets(save(tmp_path, train=split_of(NAMES, names), validation=split_of(NAMES, names)))
    last = str(best.with_name("last.ckpt"))
    run = trainer(max_epochs=5)
    task = blank(best)
    run.fit(task, datamodule=data, ckpt_path=last)
    assert run.current_epoch == 5
    assert task.class_names == data.class_names == NAMES
    batch = next(iter(data.train_dataloader()))
    assert [data.own_class_names[int(x)] for x in batch["label"]] != [NAMES[int(x)] for x in batch["label"]]
    assert float(run.callback_metrics["val/acc1"]) == 1.0
    other = pets(save(tmp_path / "other", train=split_of(("bird", "cat", "dog")), validation=split_of(("bird",))))
    with pytest.raises(DataError, match="bird is not among"):
        trainer(max_epochs=5).fit(blank(best), datamodule=other, ckpt_path=last)


@pytest.mark.parametrize("stage", ["test", "predict"])
def test_no_fresh_head_is_measured(tmp_path, best, stage):
    data = pets(save(tmp_path, test=split_of(("cat", "dog"), ("cat", "dog"))))
    nameless = tmp_path / "nameless.pth"
    torch.save({"model": load_task(best).net.state_dict()}, nameless)
    with pytest.raises(CheckpointError, match=r"nameless\.pth: has no trained head for these 2 classes \(cat, dog\)"):
        getattr(trainer(), stage)(blank(best, weights=str(nameless)), datamodule=data)


def test_a_file_without_names_is_taken_by_number_and_said(tmp_path, best, caplog):
    nameless = tmp_path / "nameless.pth"
    torch.save({"model": load_task(best).net.state_dict()}, nameless)
    data = pets(save(tmp_path / "d", test=split_of(NAMES, NAMES)))
    assert accuracy(blank(best, weights=str(nameless)), data) == 1.0
    assert "nothing names the network's classes" in caplog.text


@pytest.mark.parametrize(("names", "fresh"), [(("fish", "cat", "dog"), False), (("bird", "cat", "dog"), True)])
def test_a_start_from_weights_takes_their_order_or_leaves_the_head_fresh(tmp_path, best, names, fresh, caplog):
    data = pets(save(tmp_path, train=split_of(names, names), validation=split_of(names, names)))
    run = trainer(limit_train_batches=0)
    task = blank(best, weights=str(best))
    run.fit(task, datamodule=data)
    assert task.class_names == (list(names) if fresh else NAMES)
    same = torch.equal(task.net.head.weight, load_task(best).net.head.weight)
    assert same is not fresh
    assert ("the classes of its head are others (bird is not among" in caplog.text) is fresh


def test_names_as_text():
    assert numbers_by_name(["b", "a"], ["a", "b", "c"]) == [1, 0]
    assert numbers_by_name(["a", "a"], ["a", "a"]) == [0, 1]
    with pytest.raises(UnknownClassesError, match="2 classes have the name 'a'"):
        numbers_by_name(["a"], ["a", "a", "b"])
    with pytest.raises(UnknownClassesError, match="to the letter"):
        numbers_by_name(["cafe\u0301"], ["caf\u00e9"])


@pytest.mark.parametrize("streaming", [False, True])
def test_parquet_files_are_read_with_their_own_names(tmp_path, best, streaming):
    for split, names in (("train", NAMES), ("validation", NAMES), ("test", ("fish", "cat", "dog"))):
        split_of(NAMES, names).to_parquet(str(tmp_path / f"{split}-0.parquet"))
    data = pets(str(tmp_path), streaming=streaming)
    assert accuracy(load_task(best), data) == 1.0
    assert accuracy(load_task(best), data, "validate") == 1.0
    split_of(NAMES, NAMES).to_parquet(str(tmp_path / "test-1.parquet"))
    problem = r"test-1\.parquet: column 'label' numbers the classes otherwise than the first"
    with pytest.raises(DataError, match=problem):
        trainer().test(load_task(best), datamodule=pets(str(tmp_path), streaming=streaming))


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["a", "b"], ["a", "b"]),
        (["a", "b", "a"], ["a (0)", "b", "a (2)"]),
        (["a", "a", "a (0)"], ["a (0)'", "a (1)", "a (0)"]),
    ],
)
def test_figures_of_classes_of_one_name_are_told_apart(names, told):
    assert distinct(names) == told
