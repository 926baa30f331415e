"""Lightning's own callbacks on our tasks: they find the network, and the schedule follows what they change."""

from pathlib import Path

import pytest
import torch
import yaml
from helpers.launching import EMA, LAST, last
from lightning.pytorch import Callback

from biformer_lit.cli import main
from biformer_lit.errors import ConfigError

SLOW = pytest.mark.slow
# Lightning says that it replaces a schedule that goes by steps by one that goes by epochs, which is meant
pytestmark = pytest.mark.filterwarnings("ignore:SWA is currently only supported every epoch")
OWN = "lightning.pytorch.callbacks."
ALL = ["--trainer.limit_train_batches", "1.0"]
FILE = "runs/tiny/version_{}/checkpoints/last.ckpt"


class Watch(Callback):
    """Keeps what a run did: the rate and the batch of each step, and the classifier at the start of each epoch."""

    def __init__(self) -> None:
        self.rates, self.batches, self.heads, self.frozen = [], [], {}, {}

    def on_train_epoch_start(self, trainer, pl_module):
        self.heads[trainer.current_epoch] = pl_module.net.head.weight.detach().clone()

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])
        self.batches.append(len(batch["image"]))
        frozen = [name for name, parameter in pl_module.named_parameters() if not parameter.requires_grad]
        self.frozen[trainer.current_epoch] = frozen


@pytest.fixture
def run(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def fit(callbacks, *options):
        text = yaml.safe_dump({"trainer": {"callbacks": [*callbacks, {"class_path": f"{__name__}.Watch"}, LAST]}})
        Path("callbacks.yaml").write_text(text)
        command = ["fit", "--config", str(root / "tests/configs/tiny.yaml"), "--config", "callbacks.yaml"]
        done = main([*command, "--monitoring", "false", *options])
        return done, next(one for one in done.trainer.callbacks if isinstance(one, Watch))

    return fit


def own(name, **settings):
    return {"class_path": OWN + name, "init_args": settings} if settings else {"class_path": OWN + name}


SWA = own("StochasticWeightAveraging", swa_lrs=0.01, swa_epoch_start=2, annealing_epochs=1)


def test_averaged_weights_are_the_mean_of_the_epochs(run, tmp_path):
    done, watch = run([SWA], "--trainer.max_epochs", "4")
    assert sorted(watch.heads) == [0, 1, 2, 3, 4]  # the last one fills BatchNorm's statistics
    mean = torch.stack([watch.heads[epoch] for epoch in (1, 2, 3)]).mean(0)
    torch.testing.assert_close(done.model.net.head.weight.detach(), mean)
    assert not torch.allclose(mean, watch.heads[3], atol=1e-4)
    assert torch.equal(last(tmp_path)["state_dict"]["net.head.weight"], done.model.net.head.weight)
    assert yaml.safe_load(Path("runs/tiny/version_0/config.yaml").read_text())["trainer"]["callbacks"][0] == {
        **SWA, "init_args": {**SWA["init_args"], "annealing_strategy": "cos", "avg_fn": None, "device": "cpu"}
    }  # fmt: skip
    # before it begins the schedule is that of four epochs, not of five
    assert watch.rates[3] == pytest.approx(1e-5 + (0.002 - 1e-5) * (1 + torch.cos(torch.tensor(torch.pi * 3 / 16))) / 2)


@SLOW
@pytest.mark.parametrize("epoch", [1, 2, 3])
@pytest.mark.parametrize("batch", [0, 2])
def test_averaging_goes_on_after_a_stop(run, epoch, batch):
    stop = {"class_path": "signaller.Signaller", "init_args": {"epoch": epoch, "batch": batch}}
    whole, watch = run([SWA], "--trainer.max_epochs", "4")
    with pytest.raises(SystemExit):
        run([SWA, stop], "--trainer.max_epochs", "4")
    resumed, rest = run([SWA], "--trainer.max_epochs", "4", "--ckpt_path", FILE.format(1))
    assert rest.rates == watch.rates[4 * epoch + batch + 1 :]
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], tensor), name


@pytest.mark.parametrize(
    ("callbacks", "problem"),
    [
        ([SWA, EMA], "EMA and StochasticWeightAveraging would each leave their average"),
        ([own("ModelPruning", pruning_fn="l1_unstructured"), EMA], "ModelPruning changes .* that EMA averages"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(run, callbacks, problem):
    with pytest.raises(ConfigError, match=problem):
        run(callbacks)


@SLOW
def test_pruning_finds_the_weights(run):
    done, _ = run([own("ModelPruning", pruning_fn="l1_unstructured", amount=0.5)])
    weights = done.model.net.stages[0].blocks[0].mlp.fc1.weight
    assert float((weights == 0).float().mean()) > 0.4


def test_a_backbone_is_frozen_and_set_free(run):
    optim = ["--model.optim.weight_decay", "0.07"]
    tune = own("BackboneFinetuning", unfreeze_backbone_at_epoch=1)
    done, watch = run([tune, EMA], "--trainer.max_epochs", "2", *optim)
    assert any(name.startswith("net.stages") for name in watch.frozen[0])
    assert not any(name.startswith("net.head") for name in watch.frozen[0])
    assert watch.frozen[1] == []
    groups = done.trainer.optimizers[0].param_groups
    assert sum(len(group["params"]) for group in groups) == len(list(done.model.parameters()))
    assert {group["weight_decay"] for group in groups} == {0.0, 0.07}
    # a resumed run trains what was set free before
    _, rest = run([tune, EMA], "--trainer.max_epochs", "3", *optim, "--ckpt_path", FILE.format(0))
    assert rest.frozen[2] == []


def test_a_learning_rate_is_found_and_kept(run):
    search = own("LearningRateFinder", num_training_steps=30)
    scaled = ["--model.optim.lr_batch", "32", "--trainer.max_epochs", "2"]
    done, watch = run([search, EMA], *ALL, *scaled)
    peak = done.model.lr
    assert peak == pytest.approx(2 * done.model.optim.lr)
    assert peak != pytest.approx(0.004)
    assert len(watch.rates) == 42
    assert max(watch.rates) == pytest.approx(peak, rel=0.1)
    assert last(Path.cwd())["hyper_parameters"]["optim"]["lr"] == done.model.optim.lr


@SLOW
@pytest.mark.parametrize("early", [4.0, None])
def test_a_search_goes_where_the_loss_is_none(run, early):
    search = own("LearningRateFinder", num_training_steps=40, max_lr=1e12, early_stop_threshold=early)
    done, watch = run([search], *ALL, "--trainer.max_epochs", "2")
    assert len(watch.rates) == 42
    assert all(tensor.isfinite().all() for tensor in done.model.state_dict().values())


@SLOW
@pytest.mark.filterwarnings("ignore:--ckpt_path brings the settings of its own run. optim.lr")
def test_a_resumed_run_does_not_search_again(run):
    search = own("LearningRateFinder", num_training_steps=30)
    first, _ = run([search], *ALL)
    second, watch = run([search], *ALL, "--trainer.max_epochs", "3", "--ckpt_path", FILE.format(0))
    assert second.model.optim.lr == first.model.optim.lr
    assert len(watch.rates) == 21


@pytest.mark.parametrize(
    ("mode", "mixing", "found"),
    [
        ("power", "0", 1347),
        pytest.param("binsearch", "0", 1279, marks=SLOW),
        pytest.param("power", "0.8", 1346, marks=SLOW),
    ],
)  # fmt: skip
def test_a_batch_is_found_and_the_rate_goes_with_it(run, mode, mixing, found):
    mixed = ["--model.mixing.mixup", mixing, "--model.mixing.cutmix", mixing]
    search = own("BatchSizeFinder", mode=mode, steps_per_trial=1, init_val=512)
    done, watch = run([search], *ALL, *mixed, "--model.optim.lr_batch", "64", "--trainer.max_epochs", "3")
    assert watch.batches == [found] * 3
    assert done.model.lr == pytest.approx(0.002 * found / 64)
    assert watch.rates[1] == pytest.approx(done.model.lr * 0.75, rel=0.02)  # a third of a cosine


@SLOW
def test_accumulation_goes_on_within_an_epoch(run):
    """Lightning would not accumulate in the rest of an epoch that is resumed."""
    schedule = own("GradientAccumulationScheduler", scheduling={0: 1, 1: 2})
    stop = {"class_path": "signaller.Signaller", "init_args": {"epoch": 1, "batch": 1}}
    whole, watch = run([schedule], "--model.optim.lr_batch", "64")
    with pytest.raises(SystemExit):
        run([schedule, stop], "--model.optim.lr_batch", "64")
    resumed, rest = run([schedule], "--model.optim.lr_batch", "64", "--ckpt_path", FILE.format(1))
    assert rest.rates == watch.rates[-2:]
    assert whole.trainer.global_step == resumed.trainer.global_step == 6
    assert torch.equal(whole.model.net.head.weight, resumed.model.net.head.weight)
