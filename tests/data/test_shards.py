"""Streams of files of any length, over any number of processes and workers: what is read, and when an epoch ends."""

import itertools
import json
import os
import signal
import subprocess
import sys

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from test_resume import config_with_killer, final, fit
from torch.utils.data._utils import worker as torch_worker

from biformer_lit.data import Augmentation, ClassificationDataModule
from biformer_lit.errors import ConfigError, DataError

from .test_classification import Process
from .test_resumed_data import EPOCH_END, EVERY_STEP, Recorder, trainer
from .test_streaming import module, rows_of

LENGTHS = [[9], [1, 1], [7, 1, 12], [3, 3, 3, 3], [20, 1, 2, 1, 1, 6]]
PLACES = list(itertools.product((1, 2, 3, 5), (1, 2, 3)))  # processes, workers of each


@pytest.fixture
def write_lengths(make_table, tmp_path):
    """Write files of these many rows, numbered through, and return the folder."""

    folder = tmp_path / "lengths"
    folder.mkdir()

    def save(train, validation=(7, 3)):
        for name, lengths in (("train", train), ("validation", validation)):
            table, end = make_table(sum(lengths)), 0
            for number, length in enumerate(lengths):
                rows, end = range(end, end + length), end + length
                table.select(rows).to_parquet(folder / f"{name}-{number:05d}-of-{len(lengths):05d}.parquet")
        return str(folder)

    return save


@pytest.fixture
def as_worker(monkeypatch):
    """What a worker reads, without starting one."""

    def samples(loader, number, workers):
        info = torch_worker.WorkerInfo(id=number, num_workers=workers, seed=0, dataset=loader.dataset)
        monkeypatch.setattr(torch_worker, "_worker_info", info)
        try:
            return list(loader.dataset)
        finally:
            monkeypatch.setattr(torch_worker, "_worker_info", None)

    return samples


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_each_row_once_whatever_the_files_processes_and_workers(write_lengths, as_worker, lengths):
    folder, rows = write_lengths(lengths, lengths), sum(lengths)
    for world_size, workers in PLACES:
        data = [module(folder, shuffle_buffer=4) for _ in range(world_size)]
        for rank, part in enumerate(data):
            part.trainer = Process(rank, world_size)
        orders = []
        for epoch in range(3):
            found = []
            for part in data:
                loader = part.train_dataloader()
                loader.dataset.start(epoch, 0)
                found += [sample for worker in range(workers) for sample in as_worker(loader, worker, workers)]
            orders.append(rows_of([{"image": sample["image"][None]} for sample in found]))
            assert sorted(orders[-1]) == list(range(rows))
            assert len({sample["index"] for sample in found}) == rows
        assert rows < 9 or orders[0] != orders[1] != orders[2] != orders[0]
        loaders = [part.val_dataloader() for part in data]
        found = [s for loader in loaders for worker in range(workers) for s in as_worker(loader, worker, workers)]
        assert sorted(rows_of([{"image": s["image"][None]} for s in found])) == list(range(rows))


@pytest.mark.parametrize("workers", [0, 2])
def test_what_is_left_out_are_the_ends_of_the_workers(write_lengths, workers):
    data = module(write_lengths([20, 1, 2, 1, 1, 6]), num_workers=workers, batch_size=4)
    rows = rows_of(data.train_dataloader())
    assert len(rows) == len(set(rows)) >= 31 - max(1, workers) * 3
    assert sorted(rows_of(data.val_dataloader())) == list(range(10))


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`:UserWarning")
@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
@pytest.mark.parametrize(
    ("workers", "limit", "checkpoint"),
    [(0, 5, EVERY_STEP), (0, 100, EPOCH_END), (2, 100, EVERY_STEP), (3, 8, EPOCH_END), (3, 100, EVERY_STEP)],
)
def test_resumed_with_the_same_rows_and_pixels(write_lengths, tmp_path, workers, limit, checkpoint):
    """With three workers one has twelve rows and the others three, so that it ends its epochs alone."""
    folder = write_lengths([12, 2, 3])

    def data():
        return ClassificationDataModule(
            dataset=folder, streaming=True, shuffle_buffer=5, batch_size=1 if workers else 3, image_size=8,
            num_workers=workers, augmentation=Augmentation(rand_augment=None, erasing=1.0),
        )  # fmt: skip

    whole, options = Recorder(), {"max_epochs": 2, "limit_train_batches": limit}
    keep = ModelCheckpoint(tmp_path / "saved", save_top_k=-1, filename="{step}", **checkpoint)
    trainer(tmp_path, [keep], **options).fit(whole, datamodule=data())
    assert len(whole.seen) == 2 * min(limit, 17 if workers else 5)
    files = sorted(tmp_path.glob("saved/*.ckpt"))
    chosen = files if workers == 0 or checkpoint is EPOCH_END else files[4::9]  # each start of workers takes a while
    assert chosen
    for file in chosen:
        steps = torch.load(file, weights_only=True)["global_step"]
        resumed = Recorder()
        trainer(tmp_path, [], **options).fit(resumed, datamodule=data(), ckpt_path=file, weights_only=True)
        assert resumed.seen == whole.seen[steps:], file.name


def test_resumed_behind_batches_without_a_readable_image(make_table, tmp_path):
    for split in ("train", "validation"):
        make_table(12, bad=[2, 3, 5, 8]).to_parquet(tmp_path / f"{split}.parquet")
    data = module(str(tmp_path), batch_size=2, on_bad_image="skip", shuffle_buffer=1)
    assert rows_of(data.train_dataloader()) == [0, 1, 4, 6, 7, 9, 10, 11]
    loader = data.train_dataloader()
    loader.dataset.start(0, 3)
    assert rows_of(loader) == [9, 10, 11]


@pytest.mark.parametrize(
    ("change", "told"), [({"num_workers": 1}, "num_workers 0 -> 1"), ({"shuffle_buffer": 7}, "shuffle_buffer 16 -> 7")]
)
def test_a_place_in_another_order_is_refused(write_lengths, change, told):
    folder = write_lengths([12])
    state = module(folder).train_dataloader().state_dict()
    module(folder).train_dataloader().load_state_dict(state)
    with pytest.raises(ConfigError, match=rf"cannot be continued with other settings \({told}\)"):
        module(folder, **change).train_dataloader().load_state_dict(state)


def test_what_is_passed_over_is_not_decoded(write_lengths, monkeypatch):
    loader, read = module(write_lengths([12])).train_dataloader(), []
    reader = loader.dataset._read
    monkeypatch.setattr(loader.dataset, "_read", lambda row, where: (read.append(where), reader(row, where))[1])
    loader.dataset.start(0, 3)
    assert len(rows_of(loader)) == len(read) == 3


def test_an_epoch_of_no_batch_and_a_split_of_no_image(write_lengths, make_table, tmp_path):
    data = module(write_lengths([5]), batch_size=6)
    with pytest.raises(
        DataError, match=r"split 'train': the stream of a process ends before its first batch of 6; use"
    ):
        list(data.train_dataloader())
    (tmp_path / "bad").mkdir()
    for split in ("train", "validation"):
        make_table(3, bad=[0, 1, 2]).to_parquet(tmp_path / f"bad/{split}.parquet")
    data = module(str(tmp_path / "bad"), on_bad_image="skip")
    with pytest.raises(DataError, match=r"split 'validation': there is a process without any image to evaluate; use"):
        list(data.val_dataloader())


def test_an_epoch_shorter_than_told_is_validated_all_the_same(write_lengths, tmp_path, caplog):
    class Counting(Recorder):
        validated = 0

        def validation_step(self, batch, batch_idx):
            self.validated += len(batch["index"])

    task = Counting()
    trainer(tmp_path, [], max_epochs=2, limit_train_batches=100).fit(task, datamodule=module(write_lengths([7, 5])))
    assert task.validated == 2 * 10
    assert len(task.seen) == 2 * 4
    assert "the training stream ended after 4 batches, before trainer.limit_train_batches=100" in caplog.text


@pytest.mark.parametrize("world_size", [2, 3])
def test_agreement_ends_all_epochs_with_the_first(write_lengths, world_size):
    """The processes in turns; each has to ask the others as often as the others ask it."""
    folder, answers = write_lengths([20, 4, 9, 1, 1, 1]), []
    asked = [[] for _ in range(world_size)]
    for rank in range(world_size):
        data = module(folder, batch_size=1)
        data.trainer = Process(rank, world_size)
        loader = data.train_dataloader()
        loader.agree = lambda yes, rank=rank: (asked[rank].append(yes), yes)[1]
        list(loader)
    answers = [all(votes) for votes in zip(*asked, strict=False)]
    assert answers.index(False) == min(map(len, asked)) - 1
    seen = []
    for rank in range(world_size):
        data = module(folder, batch_size=1)
        data.trainer = Process(rank, world_size)
        loader, replies = data.train_dataloader(), iter(answers)
        loader.agree = lambda yes, replies=replies: next(replies)
        seen.append(rows_of(loader))
        assert next(replies, None) is None
    assert {len(rows) for rows in seen} == {answers.index(False)}
    assert len(set(itertools.chain(*seen))) == world_size * answers.index(False)


TWO = """
import json, sys, datasets, torch
from lightning.pytorch import Trainer
from data.test_resumed_data import Recorder
from data.test_streaming import module

class Task(Recorder):
    def __init__(self):
        super().__init__()
        self.evaluated = []

    def validation_step(self, batch, batch_idx):
        self.evaluated += batch["index"].tolist()
        self.log("rows", float(len(batch["index"])), sync_dist=True, reduce_fx="sum")

torch.set_num_threads(1)
datasets.config.SLEEP_TIME_ON_THREADS_SHUTDOWN = 0
run = Trainer(accelerator="cpu", devices=2, strategy="ddp", logger=False, enable_progress_bar=False,
    enable_model_summary=False, enable_checkpointing=False, num_sanity_val_steps=0, **json.loads(sys.argv[2]))
task = Task()
run.fit(task, datamodule=module(sys.argv[1], batch_size=2))
report = {"steps": run.global_step, "evaluated": task.evaluated, "rows": float(run.callback_metrics.get("rows", 0))}
open(f"rank{run.global_rank}.json", "w").write(json.dumps(report))
"""


def two_processes(root, folder, **options):
    """Train on the files in ``folder`` in two processes; what ended, and what each wrote down."""
    (folder / "two.py").write_text(TWO)
    environment = os.environ | {"PYTHONPATH": str(root / "tests"), "OMP_NUM_THREADS": "1", "HF_DATASETS_CACHE": "cache"}
    command = [sys.executable, "two.py", "lengths", json.dumps(options)]
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    process = subprocess.Popen(command, cwd=folder, env=environment, **pipes)
    try:
        _, stderr = process.communicate(timeout=100)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # a process that waits for another hears nothing else
        raise
    return process.returncode, stderr, [json.loads(file.read_text()) for file in sorted(folder.glob("rank*.json"))]


def test_two_processes_end_together(root, tmp_path, write_lengths):
    """One has 20 rows and the other 5; one evaluates 7 and the other 1."""
    write_lengths([20, 5], [7, 1])
    code, stderr, reports = two_processes(root, tmp_path, max_epochs=3, limit_train_batches=50)
    assert code == 0, stderr
    assert [report["steps"] for report in reports] == [6, 6]
    assert [len(report["evaluated"]) for report in reports] in ([21, 3], [3, 21])
    assert [report["rows"] for report in reports] == [8, 8]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({"max_steps": 3}, 3),
        ({"max_epochs": 2, "limit_train_batches": 2, "val_check_interval": 1}, 4),
        ({"max_epochs": 2, "limit_train_batches": 50, "accumulate_grad_batches": 2}, 2),
    ],
)
def test_two_processes_with_other_ends(root, tmp_path, write_lengths, options, steps):
    write_lengths([20, 5], [7, 1])
    code, stderr, reports = two_processes(root, tmp_path, **options)
    assert code == 0, stderr
    assert [report["steps"] for report in reports] == [steps, steps]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("train", "validation", "message"),
    [
        ([20, 1], [7, 1], "split 'train': the stream of a process ends before its first batch of 2"),
        ([20, 5], [1], "split 'validation': there is a process without any image to evaluate"),
    ],
)
def test_a_process_without_any_row_ends_both(root, tmp_path, write_lengths, train, validation, message):
    write_lengths(train, validation)
    code, stderr, reports = two_processes(root, tmp_path, max_epochs=2, limit_train_batches=50)
    assert code != 0
    assert message in stderr
    assert not reports


@pytest.mark.slow
def test_killed_and_resumed_stream_with_two_workers(root, tmp_path):
    options = ["--data.streaming", "true", "--data.shuffle_buffer", "50", "--data.num_workers", "2"]
    assert fit(root, tmp_path / "whole", *options).returncode == 0
    killed = tmp_path / "killed"
    config_with_killer(killed, 1, 3, 1)
    assert fit(root, killed, "--config", "kill.yaml", *options).returncode == -signal.SIGKILL
    last = "runs/tiny/version_0/checkpoints/last.ckpt"
    assert torch.load(killed / last, weights_only=True)["global_step"] == 4 + 3
    resumed = fit(root, killed, "--ckpt_path", last, *options)
    assert resumed.returncode == 0, resumed.stderr
    end, expected = final(killed, 1), final(tmp_path / "whole", 0)
    for part in ("state_dict", "current_model_state"):
        assert all(torch.equal(tensor, expected[part][name]) for name, tensor in end[part].items())
