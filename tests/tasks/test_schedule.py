"""The learning rate over runs that are resumed otherwise than they were begun: the values of each step."""

import math

import pytest
import torch

from biformer_lit.errors import CheckpointError, ConfigError
from biformer_lit.tasks.optim import Optimization
from biformer_lit.tasks.schedule import Place, Plan, Rate

INF = math.inf


def plan(epochs=10, steps=-1, batches=8, accumulation=((0, 1),)):
    return Plan(epochs, steps, batches, accumulation)


class Run:
    """A schedule that is stepped as Lightning does; the rates of the steps are kept."""

    def __init__(self, optim, plan, batch=64, state=None, place=None):
        self.optim, self.plan, self.batch = optim, plan, batch
        weight = torch.nn.Parameter(torch.zeros(1))
        optimizer = torch.optim.SGD([weight], lr=optim.scaled_lr(batch))
        weight.grad = torch.zeros(1)
        self.schedule = optim.build_schedule(optimizer, optim.scaled_lr(batch))["scheduler"]
        if state is not None:
            self.schedule.load_state_dict(state)
        self.place = place or Place(0, 0, 0)
        self.rates = []
        self.said = self.follow(plan)

    def follow(self, plan, batch=None):
        self.plan = plan
        warmup = self.optim.warmup_steps
        warmup = plan.steps_of(self.optim.warmup_epochs) if warmup is None else warmup
        self.batch = batch or self.batch
        return self.schedule.follow(plan, self.place, Rate(self.optim.scaled_lr(self.batch), self.batch, warmup))

    def train(self, epochs):
        for _ in range(epochs):
            steps = math.ceil(self.plan.batches / self.plan.accumulated(self.place.epoch))
            for _ in range(steps):
                self.rates.append(self.schedule.optimizer.param_groups[0]["lr"])
                self.schedule.optimizer.step()
                self.schedule.step()
            self.place = Place(self.place.epoch + 1, 0, self.place.step + steps)
        return self

    def resumed(self, plan=None, batch=None, optim=None):
        return Run(optim or self.optim, plan or self.plan, batch or self.batch, self.schedule.state_dict(), self.place)


OPTIM = Optimization(lr=0.01, lr_batch=64, warmup_epochs=2, warmup_lr=0.0, min_lr=0.0)


def cosine(share, peak=0.01):
    return peak * (1 + math.cos(math.pi * share)) / 2


@pytest.mark.parametrize("after", [1, 5, 10])
@pytest.mark.parametrize("settings", [{}, {"warmup_epochs": 0.0}, {"schedule": "linear"}, {"schedule": "step"}])
def test_an_unchanged_resume_has_the_same_bits_and_says_nothing(after, settings):
    optim = Optimization(lr=0.0137, lr_batch=100, min_lr=3e-5, **settings)
    whole = Run(optim, plan()).train(10)
    first = Run(optim, plan()).train(after)
    second = first.resumed().train(10 - after)
    assert second.said is None
    assert first.rates + second.rates == whole.rates


@pytest.mark.parametrize(("batches", "batch"), [(4, 128), (16, 32), (3, 128)])
@pytest.mark.parametrize("after", [1, 5])
def test_another_batch_goes_on_at_the_same_share_with_its_own_peak(batches, batch, after):
    before = Run(OPTIM, plan()).train(after)
    resumed = before.resumed(plan(batches=batches), batch).train(10 - after)
    peak = 0.01 * batch / 64
    assert f"global batch 64 -> {batch}; peak learning rate 0.01 -> {peak:.3g}" in resumed.said
    for step, rate in enumerate(resumed.rates):
        share = (after + step / batches) / 10
        assert rate == pytest.approx(peak * share / 0.2 if share < 0.2 else cosine(share, peak), rel=1e-6), step
    assert resumed.schedule.share == pytest.approx(1)


def test_another_accumulation_is_another_batch():
    resumed = Run(OPTIM, plan()).train(5).resumed(plan(accumulation=((0, 4),)), 256).train(5)
    assert resumed.rates == pytest.approx([cosine(0.5 + step / 20, 0.04) for step in range(10)])


def test_without_scaling_the_peak_stays_and_that_is_said():
    optim = Optimization(lr=0.01, lr_batch=0, warmup_epochs=0, min_lr=0.0)
    resumed = Run(optim, plan()).train(5).resumed(plan(batches=4), 128).train(5)
    assert resumed.said.endswith("the peak learning rate stays 0.01 (optim.lr_batch: 0)")
    assert resumed.rates == pytest.approx([cosine(0.5 + step / 40) for step in range(20)])


def test_changed_twice_and_back():
    run = Run(OPTIM, plan()).train(4).resumed(plan(batches=4), 128).train(2).resumed(plan(), 64).train(4)
    assert run.rates == pytest.approx([cosine(0.6 + step / 80) for step in range(32)])


@pytest.mark.parametrize("settings", [{}, {"schedule": "linear"}, {"schedule": "step"}])
def test_a_finished_run_that_is_extended_keeps_its_last_rate(settings):
    optim = Optimization(lr=0.01, lr_batch=0, warmup_epochs=1, min_lr=1e-4, **settings)
    run = Run(optim, plan()).train(10).resumed(plan(20)).train(10)
    assert "the run's length is 20 epochs instead of 10 epochs: the schedule has ended" in run.said
    assert "replan and restart" in run.said
    assert run.rates == pytest.approx([1e-4] * 80)
    again = run.resumed(plan(20, batches=4), 128).train(1)  # nothing is left of it, whatever the batch
    assert again.schedule.share == 1


def test_an_unfinished_run_that_is_extended_goes_on_where_it_was():
    run = Run(OPTIM, plan()).train(5).resumed(plan(20)).train(15)
    assert run.rates == pytest.approx([cosine(0.5 + step / 240) for step in range(120)])


def test_replan_goes_where_a_run_of_this_length_would_be():
    optim = Optimization(**{**OPTIM.__dict__, "on_extension": "replan"})
    whole = Run(OPTIM, plan(20)).train(20)
    run = Run(OPTIM, plan()).train(10).resumed(plan(20), optim=optim).train(10)
    assert "the learning rate goes from 0 to 0.005" in run.said
    assert run.rates == pytest.approx(whole.rates[80:])


def test_restart_begins_the_schedule_again_and_can_itself_be_resumed():
    optim = Optimization(**{**OPTIM.__dict__, "on_extension": "restart"})
    whole = Run(OPTIM, plan()).train(10)
    run = Run(OPTIM, plan()).train(10).resumed(plan(20), optim=optim).train(5)
    then = run.resumed().train(5)
    assert then.said is None
    assert run.rates + then.rates == whole.rates


def test_max_steps_counts_steps_whatever_the_batch():
    run = Run(OPTIM, plan(-1, 80)).train(5).resumed(plan(-1, 80, batches=4), 128).train(10)
    assert run.rates == pytest.approx([cosine(0.5 + step / 80, 0.02) for step in range(40)])


def test_a_stream_that_was_shorter_than_planned_is_no_other_plan():
    """Steps that an epoch did not have are not made up for at a resume: the whole run had not made up for them."""
    optim = Optimization(lr=0.01, lr_batch=0, warmup_epochs=0)
    run = Run(optim, plan(4, batches=10)).train(2)
    run.place = Place(2, 0, 16)
    run.schedule.last_epoch = 16
    assert run.resumed().said is None


def test_accumulation_that_changes_in_mid_run():
    """As GradientAccumulationScheduler does: the schedule ends with the run, the rate follows the batch."""
    accumulation = ((0, 1), (5, 4))
    run = Run(OPTIM, plan(accumulation=accumulation)).train(5)
    assert run.follow(run.plan, 256) == "global batch 64 -> 256; peak learning rate 0.01 -> 0.04"
    run.train(5)
    total = 5 * 8 + 5 * 2
    wanted = [cosine(step / total) for step in range(16, 40)] + [cosine(step / total, 0.04) for step in range(40, 50)]
    assert run.rates[16:] == pytest.approx(wanted)


def test_a_batch_that_changes_in_mid_run():
    """As a search for a batch does that begins again at later epochs."""
    run = Run(OPTIM, plan()).train(5)
    run.follow(plan(batches=4), 128)
    run.train(5)
    assert run.rates[40:] == pytest.approx([cosine(0.5 + step / 40, 0.02) for step in range(20)])


def test_a_schedule_made_in_mid_run_ends_with_it():
    """``trainer.fit`` called again has a fresh optimiser, and a schedule for what is left."""
    run = Run(OPTIM, plan(20), place=Place(10, 0, 80)).train(10)
    assert run.schedule.share == 1


@pytest.mark.parametrize(
    ("limits", "place", "left"),
    [
        ({}, (0, 0, 0), 80), ({"accumulation": ((0, 3),)}, (0, 0, 0), 30), ({"accumulation": ((0, 3),)}, (9, 4, 0), 2),
        ({}, (9, 8, 80), 0), ({"steps": 50}, (3, 0, 24), 26),
        ({"epochs": -1, "steps": 50, "batches": INF}, (0, 0, 7), 43),
        ({"epochs": -1}, (0, 0, 0), INF), ({"batches": INF}, (0, 0, 0), INF), ({}, (12, 0, 96), 0),
        ({"accumulation": ((0, 1), (8, 2))}, (7, 0, 56), 16), ({"steps": 50}, (9, 0, 60), 0),
    ],
)  # fmt: skip
def test_steps_that_are_left(limits, place, left):
    assert plan(**limits).steps_left(*place) == left


def test_steps_of_a_warm_up_over_accumulation_that_changes():
    assert plan(batches=7, accumulation=((0, 2),)).steps_of(1.5) == round(1.5 * 7 / 2)
    assert plan(accumulation=((0, 1), (2, 4))).steps_of(3.5) == 8 + 8 + 2 + 1


# -- checkpoints of 0.1, which knew no plan ---------------------------------------------------------------


def of_0_1(run):
    """The state that LambdaLR kept."""
    state = run.schedule.state_dict()
    kept = {name: state[name] for name in ("last_epoch", "base_lrs", "_step_count", "_last_lr")}
    return {**kept, "_get_lr_called_within_step": False, "lr_lambdas": [None]}


@pytest.mark.parametrize("schedule", ["cosine", "linear", "step"])
@pytest.mark.parametrize("after", [1, 5])
def test_an_older_checkpoint_goes_on_unchanged(schedule, after):
    optim = Optimization(**{**OPTIM.__dict__, "schedule": schedule})
    whole, run = Run(optim, plan()).train(10), Run(optim, plan()).train(after)
    resumed = Run(optim, plan(), state=of_0_1(run), place=run.place)
    assert resumed.said is None
    assert run.rates + resumed.train(10 - after).rates == whole.rates


@pytest.mark.parametrize("schedule", ["cosine", "linear", "step"])
@pytest.mark.parametrize("after", [1, 5])
def test_an_older_checkpoint_with_another_batch(schedule, after):
    optim = Optimization(**{**OPTIM.__dict__, "schedule": schedule})
    run = Run(optim, plan()).train(after)
    wanted = run.resumed(plan(batches=4), 128).train(10 - after).rates
    older = Run(optim, plan(batches=4), 128, of_0_1(run), run.place)
    assert "peak learning rate 0.01 -> 0.02" in older.said
    assert older.train(10 - after).rates == pytest.approx(wanted)


@pytest.mark.parametrize("after", [5, 10])
def test_an_older_checkpoint_that_is_extended(after):
    run = Run(OPTIM, plan()).train(after)
    wanted = run.resumed(plan(20)).train(20 - after).rates
    older = Run(OPTIM, plan(20), 64, of_0_1(run), run.place)
    assert "the run's length is 20 epochs, which is another" in older.said
    assert older.train(20 - after).rates == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize(
    "change",
    [
        {"total": "many"}, {"peak": 0}, {"peak": math.nan}, {"last_epoch": None}, {"base_lrs": []}, {"last_epoch": -3},
        {"plan": {"epochs": 1}}, {"plan": {"epochs": 1, "steps": -1, "batches": 3, "accumulation": []}},
    ],
)  # fmt: skip
def test_a_state_that_is_none_is_refused(change):
    state = Run(OPTIM, plan()).train(1).schedule.state_dict()
    with pytest.raises(CheckpointError, match="the state of the learning rate's schedule cannot be used"):
        Run(OPTIM, plan(), state={**state, **change})


def test_the_state_of_another_schedule_is_refused():
    with pytest.raises(CheckpointError, match="another schedule's, such as StochasticWeightAveraging's"):
        Run(OPTIM, plan(), state={"last_epoch": 3, "_step_count": 4, "base_lrs": [0.1], "_last_lr": [0.1]})


def test_unknown_choice():
    with pytest.raises(ConfigError, match=r"optim\.on_extension='go on' is unknown; use 'keep', 'replan' or 'restart'"):
        Optimization(on_extension="go on")


def test_groups_that_were_added_keep_their_rate():
    run = Run(OPTIM, plan())
    run.schedule.optimizer.add_param_group({"params": [torch.nn.Parameter(torch.zeros(1))], "lr": 0.5})
    run.train(3)
    assert run.schedule.optimizer.param_groups[1]["lr"] == 0.5
