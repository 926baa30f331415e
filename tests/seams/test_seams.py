"""Private parts of other libraries are where the seams say, mean what they say, and are touched nowhere else."""

import ast
import inspect
import re
from types import SimpleNamespace

import datasets
import optuna
import pytest
import timm
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.strategies import DDPStrategy
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from biformer_lit.seams import lightning_seams, optuna_seams, timm_seams, torch_seams
from biformer_lit.seams.datasets_seams import examples_of, wait_as

LIBRARIES = ("datasets", "lightning", "lightning_utilities", "optuna", "timm", "torch", "torchvision", "torchmetrics")
PARTS = {  # of Lightning's loops, which are documented nowhere
    *("batch_progress", "epoch_progress", "restarted_mid_epoch", "restarted_on_train_batch_end"),
    *("reset_restart_stage", "val_check_batch", "is_last_batch_", "_skip_backward", "_combined_loader"),
}
MODULES = re.compile(rf"^({'|'.join(LIBRARIES)})(\..*)?$")


class Nothing(LightningModule):
    """Trains a number, and notes what the seams tell at each batch."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.told = []

    def training_step(self, batch, batch_idx):
        self.told.append((lightning_seams.batches_taken(self.trainer), lightning_seams.consumed(self.trainer)))
        self.told.append(lightning_seams.is_filling_statistics(self.trainer))
        return (self.weight * batch).sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def quiet(tmp_path, **options):
    silent = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    return Trainer(default_root_dir=tmp_path, enable_checkpointing=False, **silent, **options)


def why(what):
    return f"{what}: a part of another library has moved or means something else; see biformer_lit/seams"


# -- nobody else touches them ---------------------------------------------------------------------------------


def private_imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and MODULES.match(node.module):
            parts = [*node.module.split("."), *(alias.name for alias in node.names)]
            yield from (f"{node.module}: {part}" for part in parts if part.startswith("_"))
        if isinstance(node, ast.Import):
            named = [alias.name for alias in node.names if MODULES.match(alias.name)]
            yield from (name for name in named if any(part.startswith("_") for part in name.split(".")))


def touched(tree):
    """Private attributes of other objects than ``self`` and ``cls``, and the parts above."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute):
            continue
        own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
        of_super = isinstance(node.value, ast.Call) and ast.unparse(node.value.func) == "super"
        private = node.attr.startswith("_") and not node.attr.startswith("__") and not own and not of_super
        if private or node.attr in PARTS:
            yield node.attr


OWN = {  # private attributes of this package, of standard tuples, and of os
    "registry.py": {"_entries", "_forget"},
    "data/labels.py": {"_numbers"},
    "backbone/registering.py": {"_of_constructor"},
    "*": {"_replace", "_asdict", "_exit"},
}


def test_private_parts_are_touched_in_the_seams_alone(root):
    package = root / "biformer_lit"
    found = {}
    for path in package.rglob("*.py"):
        name = path.relative_to(package).as_posix()
        if name.startswith("seams/"):
            continue
        tree = ast.parse(path.read_text())
        allowed = OWN["*"] | OWN.get(name, set())
        if wrong := [*private_imports(tree), *(attribute for attribute in touched(tree) if attribute not in allowed)]:
            found[name] = wrong
        if "SLF001" in path.read_text() and name not in OWN:
            found.setdefault(name, []).append("noqa: SLF001")
    assert not found, "give each a function in biformer_lit/seams"


def test_the_walk_sees_private_parts():
    tree = ast.parse("from torch._dynamo import a\nfrom timm.models import _b\nimport torch._c\nx.y._d\nself._e\n")
    assert [*private_imports(tree)] == ["torch._dynamo: _dynamo", "timm.models: _b", "torch._c"]
    assert [*touched(tree)] == ["_d"]


# -- Lightning ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("owner", "name"), lightning_seams.OVERRIDDEN, ids=str)
def test_overridden_methods_are_there(owner, name):
    assert inspect.isfunction(getattr(owner, name, None)), why(f"{owner.__name__}.{name}")


def test_the_counters_of_the_training_loop(tmp_path):
    task, trainer = Nothing(), quiet(tmp_path, max_epochs=2)
    trainer.fit(task, DataLoader(torch.ones(3, 1)))
    counted = [(taken, *done) for taken, done in task.told[::2]]
    expected = [(n + 1, epoch, n, n == 2) for epoch in (0, 1) for n in range(3)]
    assert counted == expected, why("fit_loop.epoch_progress, epoch_loop.batch_progress")
    assert not any(task.told[1::2]), why("fit_loop._skip_backward")
    assert lightning_seams.consumed(trainer) == (2, 3, True), why("batch_progress.is_last_batch")
    assert not lightning_seams.is_restarting(trainer)
    assert not lightning_seams.restarted_within_epoch(trainer)


class Resumable(DataLoader):
    def state_dict(self):
        return {"batches": len(self)}

    def load_state_dict(self, state):
        assert state == self.state_dict()


@pytest.mark.parametrize("seen", [2, 4])
def test_where_a_run_goes_on(tmp_path, seen):
    """After the second of four batches it is within the epoch, after the fourth at the end of one."""

    class Saving(Nothing):
        def on_train_batch_end(self, outputs, batch, batch_idx):
            if self.trainer.global_step == seen:
                self.trainer.save_checkpoint(tmp_path / "a.ckpt")

    class Looking(Nothing):
        def on_train_start(self):
            loop = self.trainer
            self.at_start = (lightning_seams.restarted_within_epoch(loop), lightning_seams.is_restarting(loop))
            self.position = lightning_seams.consumed(loop).batches
            lightning_seams.begin_next_epoch_rightly(loop)

    batches = Resumable(torch.ones(4, 1))
    quiet(tmp_path, max_epochs=1).fit(Saving(), batches)
    task, trainer = Looking(), quiet(tmp_path, max_epochs=2)
    trainer.fit(task, batches, ckpt_path=tmp_path / "a.ckpt", weights_only=True)
    assert task.at_start == (seen == 2, True), why("fit_loop.restarted_mid_epoch, fit_loop.restarting")
    assert task.position == seen, why("batch_progress.current.processed")
    assert trainer.global_step == 8, why("what is consumed is not repeated")
    assert trainer.current_epoch == 2, why("fit_loop.reset_restart_stage")


class Stream(IterableDataset):
    def __iter__(self):
        return iter(torch.ones(3, 1))


def test_an_epoch_ends_where_it_is_told_to(tmp_path):
    class Ending(Nothing):
        validated = 0

        def on_train_batch_start(self, batch, batch_idx):
            if batch_idx == 2:
                lightning_seams.end_epoch_here(self.trainer)

        def validation_step(self, batch, batch_idx):
            self.validated += 1

    task = Ending()
    trainer = quiet(tmp_path, max_epochs=2, limit_train_batches=5, num_sanity_val_steps=0)
    trainer.fit(task, DataLoader(Stream()), DataLoader(torch.ones(1, 1)))
    assert (trainer.global_step, task.validated) == (6, 2), why("batch_progress.is_last_batch, val_check_batch")


def test_the_loader_is_asked_for_again(tmp_path):
    class Counting(Nothing):
        asked = 0

        def train_dataloader(self):
            self.asked += 1
            return DataLoader(torch.ones(2, 1))

        def on_fit_start(self):
            self.trainer.fit_loop.setup_data()
            lightning_seams.load_batches_again(self.trainer)

    task = Counting()
    quiet(tmp_path, max_epochs=1).fit(task)
    assert task.asked == 2, why("fit_loop._combined_loader")


@pytest.mark.parametrize("kind", [TensorBoardLogger, CSVLogger])
def test_a_logger_asks_for_its_number(tmp_path, kind):
    (tmp_path / "runs/version_4").mkdir(parents=True)
    logger, asked = kind(tmp_path, name="runs"), []
    lightning_seams.number_runs(logger, lambda one, number: asked.append((one.version, number)) or 11)
    assert logger.version == 11, why("logger._get_next_version")
    assert asked == [(5, 5)], why("logger._version")


def test_who_starts_the_processes(tmp_path, monkeypatch):
    alone = quiet(tmp_path)
    assert not lightning_seams.launches_ranks(alone)
    assert lightning_seams.launched_processes(alone) == []
    assert lightning_seams.cluster_environment(alone) is not None, why("trainer._accelerator_connector")
    several = quiet(tmp_path, strategy=DDPStrategy(process_group_backend="gloo"), devices=2)
    several.strategy._configure_launcher()
    assert lightning_seams.launches_ranks(several), why("launchers._SubprocessScriptLauncher")
    assert several.strategy.launcher.procs == [], why("launcher.procs")


def test_the_checkpoint_of_a_requeued_job(tmp_path):
    trainer = quiet(tmp_path)
    assert lightning_seams.requeued_checkpoint(trainer) == f"{tmp_path}/hpc_ckpt_1.ckpt", why("hpc_save_path")


# -- PyTorch --------------------------------------------------------------------------------------------------


def test_all_batch_norms_are_known():
    assert all(map(torch_seams.is_batch_norm, (nn.BatchNorm1d(1), nn.BatchNorm2d(1), nn.SyncBatchNorm(1))))
    assert not torch_seams.is_batch_norm(nn.LayerNorm(1))


def test_children_are_named_in_order():
    module = nn.Sequential(nn.Identity(), nn.ReLU())
    module.register_module("none", None)
    assert torch_seams.child_names(module) == ["0", "1", "none"]


def test_writes_are_counted():
    parameter = nn.Parameter(torch.zeros(2))
    before = torch_seams.write_count(parameter)
    with torch.no_grad():
        parameter.add_(1)
    assert torch_seams.write_count(parameter) == before + 1, why("tensor._version")
    with torch.inference_mode():
        assert torch_seams.write_count(torch.zeros(1)) == 0


def test_views_share_a_storage():
    with torch_seams.FakeTensorMode():  # whose tensors have no address
        one, other = torch.zeros(4), torch.zeros(4)
        assert torch_seams.storage_key(one) == torch_seams.storage_key(one[1:]), why("untyped_storage()._cdata")
        assert torch_seams.storage_key(one) != torch_seams.storage_key(other), why("untyped_storage()._cdata")


def test_the_gradient_scaler_asks_the_optimiser():
    optimizer = torch.optim.AdamW([nn.Parameter(torch.zeros(1))], fused=True)
    assert optimizer._step_supports_amp_scaling is True, why("_step_supports_amp_scaling")
    torch_seams.unscale_before_clipping(optimizer)
    assert optimizer._step_supports_amp_scaling is False
    assert "_step_supports_amp_scaling" in inspect.getsource(torch.amp.GradScaler.step), why("GradScaler.step")


def test_many_tensors_at_once():
    tensors, others = [torch.zeros(2), torch.ones(3)], [torch.ones(2), torch.zeros(3)]
    torch_seams.lerp_all(tensors, others, 0.25)
    assert [tensor.tolist() for tensor in tensors] == [[0.25] * 2, [0.75] * 3], why("torch._foreach_lerp_")
    torch_seams.copy_all(tensors, others)
    assert all(map(torch.equal, tensors, others)), why("torch._foreach_copy_")


def test_trees_of_tensors():
    doubled = torch_seams.tree_map_only(torch.Tensor, lambda tensor: 2 * tensor, {"a": [torch.ones(1), "b"]})
    assert (doubled["a"][0].item(), doubled["a"][1]) == (2.0, "b"), why("torch.utils._pytree")


def test_workers_end_with_the_iterator():
    loader = DataLoader(torch.ones(4, 1), num_workers=1, persistent_workers=True)
    next(iter(loader))
    (worker,) = loader._iterator._workers
    torch_seams.end_workers(loader)
    worker.join(20)
    assert not worker.is_alive(), why("DataLoader._iterator")


# -- timm, datasets, Optuna -----------------------------------------------------------------------------------


def test_the_stages_that_features_are_taken_of():
    assert timm.__version__
    assert timm_seams.feature_take_indices(4, [-1, 0]) == ([3, 0], 3), why("timm.models._features")


def test_what_a_stream_reads_from():
    stream = datasets.Dataset.from_dict({"a": [1, 2, 3]}).to_iterable_dataset(num_shards=3)
    examples = examples_of(stream)
    assert len(examples.kwargs["shards"]) == 3, why("IterableDataset._ex_iterable")
    waits = SimpleNamespace()
    wait_as(waits, SimpleNamespace(_ex_iterable=SimpleNamespace(sleep_on_threads_shutdown=True)))
    assert waits._sleep_on_threads_shutdown


def test_the_storage_behind_optuna_s_cache(tmp_path):
    storage = optuna.storages.get_storage(f"sqlite:///{tmp_path}/a.db")
    behind = optuna_seams.behind_cache(storage)
    assert isinstance(behind, optuna.storages.RDBStorage), why("_CachedStorage._backend")
    assert optuna_seams.behind_cache(behind) is behind
    behind.remove_session()
    behind.engine.dispose()
