"""Where a finished run says its figures are, and loggers that are not installed."""

from importlib.util import find_spec
from types import SimpleNamespace

import pytest
from lightning.pytorch.loggers import CSVLogger, MLFlowLogger, TensorBoardLogger, WandbLogger

from biformer_lit.cli import main
from biformer_lit.cli.end_of_run import where_to_look
from biformer_lit.errors import ConfigError


def lines(*loggers):
    return where_to_look(SimpleNamespace(loggers=list(loggers)))


def like(kind, **attributes):
    """A logger whose package need not be installed."""
    made = type(kind.__name__, (kind,), {**attributes, "__init__": lambda self: None, "__del__": lambda self: None})
    return made()


def test_each_logger_says_where_its_figures_are(tmp_path):
    board, table = TensorBoardLogger(tmp_path, "a"), CSVLogger(tmp_path, "b")
    assert lines(board)[0].endswith(f"tensorboard --logdir {tmp_path}/a/version_0")
    assert lines(table) == [f"figures of each step: {tmp_path}/b/version_0/metrics.csv"]
    assert len(lines(table, board)) == 2


def test_loggers_elsewhere():
    online = like(WandbLogger, experiment=SimpleNamespace(url="https://wandb.example/r/1"))
    assert lines(online) == ["look at the run: https://wandb.example/r/1"]
    offline = like(WandbLogger, experiment=SimpleNamespace(url=None, dir="wandb/offline-1"))
    assert lines(offline)[0].startswith("figures of each step: wandb/offline-1 (offline")
    flow = like(MLFlowLogger, save_dir="./mlruns", run_id="7", _tracking_uri="file:./mlruns")
    assert lines(flow) == ["look at the run: mlflow ui --backend-store-uri file:./mlruns (run 7)"]


def test_without_a_logger_nothing_is_promised():
    assert lines() == ["no logger: the figures above are kept nowhere (trainer.logger: true logs them)"]


@pytest.mark.parametrize(("name", "package"), [("WandbLogger", "wandb"), ("MLFlowLogger", "mlflow")])
def test_a_logger_that_is_not_installed_is_one_line(root, tmp_path, monkeypatch, name, package):
    if find_spec(package):
        pytest.skip(f"{package} is installed")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=f"^{name} needs {package}, which is not installed: pip install {package}$"):
        main(["fit", "--config", str(root / "tests/configs/tiny.yaml"), "--trainer.logger", name])
    assert not list(tmp_path.iterdir())
