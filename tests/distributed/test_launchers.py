"""Lightning, torchrun and SLURM start the same run; told to stop, it goes on to the same bits."""

import os
import re
import shlex
import shutil
import signal
import subprocess

import pandas as pd
import pytest
import yaml
from helpers.launching import assert_same_end, environment, last, launch, living, run, tiny

from biformer_lit.cli import parse_fit

SCRIPTS = ["torchrun.sh", "slurm/ddp.sbatch", "slurm/sweep.sbatch"]


@pytest.fixture(scope="module")
def whole(root, tmp_path_factory):
    """The end of a run of two processes that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    status, said = run(root, folder, "lightning", tiny(root, folder))
    assert status == 0, said
    return last(folder)


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_scripts_are_bash(root, script):
    path = root / "scripts" / script
    assert os.access(path, os.X_OK)
    subprocess.run(["bash", "-n", str(path)], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", str(path)], check=True)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"NODES": "two"}, "NODES=two must be a number above 0"),
        ({"PROCESSES": "0"}, "PROCESSES=0 must be a number above 0"),
        ({"NODE_RANK": "1"}, "NODE_RANK=1 must be a number from 0 to 0, another on each machine"),
        (
            {"NODES": "2"},
            "NODES=2 needs NODE_RANK (0 on the first machine) and MASTER_ADDR (the first machine's name); set both",
        ),
        ({"MASTER_PORT": "x"}, "MASTER_PORT=x must be a number; leave it out for 29500"),
    ],
)
def test_torchrun_is_not_started_in_vain(root, given, message):
    ours = environment(root, **{"PROCESSES": "1", **given})
    done = subprocess.run([str(root / "scripts/torchrun.sh")], env=ours, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, f"error: {message}\n")


@pytest.mark.slow
def test_two_machines_under_torchrun(root, tmp_path, whole):
    """Two agents on this one, with a process each."""
    first = {"NODES": "2", "PROCESSES": "1", "MASTER_ADDR": "127.0.0.1", "NODE_RANK": "0"}
    port = environment(root)["MASTER_PORT"]
    arguments = tiny(root, tmp_path)
    agents = [
        launch(root, tmp_path, "torchrun", arguments, **first | {"NODE_RANK": rank, "MASTER_PORT": port})
        for rank in ("0", "1")
    ]
    for agent in agents:
        _, said = agent.communicate(timeout=300)
        assert agent.returncode == 0, said
    assert_same_end(last(tmp_path), whole)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["lightning", "torchrun"])
@pytest.mark.parametrize("act", [{"rank": 0}, {"rank": 1, "batch": 2}, {"rank": 1, "where": "validation"}])
def test_told_to_stop(root, tmp_path, whole, how, act):
    """One process alone is signalled, as when one of several machines is taken away."""
    status, said = run(root, tmp_path, how, tiny(root, tmp_path, act=act))
    assert status == (143 if how == "lightning" else 1), said
    step = {"train": act.get("batch", 1) + 5, "validation": 8}[act.get("where", "train")]
    assert f"stopped by SIGTERM after step {step}; go on with --ckpt_path " in said
    file = re.search(r"--ckpt_path (\S+)", said)[1]
    status, said = run(root, tmp_path, how, tiny(root, tmp_path, "--ckpt_path", file))
    assert status == 0, said
    assert_same_end(last(tmp_path, 1), whole)
    assert living(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("how", ["lightning", "torchrun"])
def test_all_told_to_stop_at_any_moment(root, tmp_path, whole, how):
    """By the parent, which passes it on: so it is sent, wherever the processes are."""
    with launch(root, tmp_path, how, tiny(root, tmp_path, "--trainer.max_epochs", "400")) as process:
        while not (tmp_path / "validated.txt").exists():
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=120)
    assert "stopped by SIGTERM after step" in said
    assert process.returncode == (143 if how == "lightning" else 1)
    assert living(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("act", [{"what": "SIGUSR1"}, {"what": "SIGUSR1", "rank": 1}, {"rank": 1}])
def test_requeued_by_slurm(root, tmp_path, whole, act):
    status, said = run(root, tmp_path, "slurm", tiny(root, tmp_path, act=act))
    assert status == 143, said
    assert "the same job, started again, goes on from " in said
    requeued = tmp_path / "requeued.txt"
    if act.get("what") == "SIGUSR1":
        assert requeued.read_text() == "requeue 4242\n"
    else:  # SLURM itself requeues what it pre-empts
        assert not requeued.exists()
    assert (tmp_path / "runs/slurm-4242/hpc_ckpt_1.ckpt").is_file()
    status, said = run(root, tmp_path, "slurm", tiny(root, tmp_path))
    assert status == 0, said
    assert "hpc_ckpt_1.ckpt" in said
    assert_same_end(last(tmp_path, 1), whole)


@pytest.mark.slow
def test_a_study_as_an_array(root, tmp_path):
    """Three workers of a study with four trials, at the same time: each trial once."""
    study = {
        "question": "Does it work?", "base": str(root / "tests/configs/tiny.yaml"), "plan": "one_at_a_time",
        "factors": {"topk": {"key": "model.backbone.topk", "values": [[1, "all"], ["all", "all"]]}},
        "baseline": {"topk": "1-all"}, "seeds": [0, 1], "objective": {"metric": "val/acc1", "mode": "max"},
        "budget": {"epochs": 2},
    }  # fmt: skip
    (tmp_path / "array.yaml").write_text(yaml.safe_dump(study))
    tasks = []
    for task in range(3):
        ours = environment(root, SLURM_ARRAY_JOB_ID="7", SLURM_ARRAY_TASK_ID=str(task), SLURM_NTASKS="1")
        ours |= {"SLURM_JOB_ID": str(70 + task), "SLURM_JOB_NAME": "biformer-sweep", "SLURM_PROCID": "0"}
        command = [str(root / "scripts/slurm/sweep.sbatch"), "array.yaml"]
        tasks.append(
            subprocess.Popen(
                command, cwd=tmp_path, env=ours, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
        )
    for task in tasks:
        said, _ = task.communicate(timeout=300)
        assert task.returncode == 0, said
    results = pd.read_csv(tmp_path / "runs/sweeps/array/results.csv")
    assert list(results["status"]) == ["complete"] * 4
    logs = list(tmp_path.glob("runs/sweeps/array/cells/*/seed-*/trial.log"))
    assert len(logs) == 4
    assert all(log.read_text().count("=== started ") == 1 for log in logs)


def documented(root):
    """The commands of docs/scaling.md."""
    blocks = re.findall(r"```bash\n(.*?)```", (root / "docs/scaling.md").read_text(), re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.replace("\\\n", "").splitlines()]


def test_what_is_documented_can_be_typed(root, tmp_path, monkeypatch):
    """Each command as far as its complete config; what the scripts do with it is tested above."""
    monkeypatch.chdir(tmp_path)
    fits = studies = 0
    for command in documented(root):
        words = [word for word in command if not re.fullmatch("[A-Z_]+=.*", word)]
        script = next((word for word in words if word.startswith("scripts/")), None)
        if script is not None:
            assert (root / script).is_file()
            assert words[0] in (script, "sbatch")
            given = words[words.index(script) + 1 :]
        else:
            assert words[:4] == ["python", "-m", "biformer_lit", "fit"]
            given = words[4:]
        if script == "scripts/slurm/sweep.sbatch":
            assert (root / given[0]).is_file()
            studies += 1
            continue
        config = parse_fit(given)
        assert config["data"]["init_args"]["dataset"] == "FOLDER"
        fits += 1
    assert (fits, studies) == (8, 1)
    assert str(config["trainer"]["strategy"]["init_args"]["timeout"]) == "0:05:00"
