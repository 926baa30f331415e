"""The example of docs/studies.md: an objective of one's own, with Optuna's pruning."""

import importlib.util
import re

import optuna
import pytest

SMALLER = (
    "max_epochs=3, limit_train_batches=2, limit_val_batches=1, enable_progress_bar=False, enable_model_summary=False"
)


@pytest.fixture
def example(root):
    """The names that the example defines, with a short training and without its last lines, which search."""
    text = (root / "docs/studies.md").read_text()
    code = re.search(r"```python\n(import optuna\n.*?)```", text, re.DOTALL)[1]
    assert "max_epochs=10" in code
    names = {"__name__": "example"}
    exec(code.partition("study = optuna.create_study")[0].replace("max_epochs=10", SMALLER), names)  # noqa: S102
    return names


class Gives(optuna.pruners.BasePruner):
    """Gives up on every trial but the first, after its second epoch."""

    def prune(self, study, trial):
        return trial.number > 0 and trial.last_step >= 1


@pytest.mark.parametrize("callback", ["ours", "optuna-integration"])
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_an_objective_of_ones_own(example, callback):
    if callback == "optuna-integration":
        if importlib.util.find_spec("optuna_integration") is None:
            pytest.skip("needs optuna-integration (pip install optuna-integration)")
        from optuna_integration import PyTorchLightningPruningCallback  # noqa: PLC0415

        example["Prune"] = PyTorchLightningPruningCallback
    study = optuna.create_study(direction="maximize", pruner=Gives())
    study.optimize(example["objective"], n_trials=2)
    first, second = study.trials
    assert (first.state.name, second.state.name) == ("COMPLETE", "PRUNED")
    assert list(first.intermediate_values) == [0, 1, 2]
    assert list(second.intermediate_values) == [0, 1]
    assert 0 <= first.value <= 1
    assert study.best_trial.number == 0
    assert set(first.params) == {"topk", "lr"}
