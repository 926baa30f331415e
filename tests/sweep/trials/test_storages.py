"""A study on each kind of storage: every cell once, with several workers and with several coordinators."""

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from studies import check_once, ledger_of, processes_of, start, study, sweep, trials_of

from biformer_lit.errors import ConfigError
from biformer_lit.sweep.trials.storage import StorageError, open_storage, patiently
from biformer_lit.sweep.trials.study import open_ledger

KINDS = ["journal", "sqlite", "postgresql", "grpc", "grpc+postgresql"]


def run_all(processes):
    try:
        return [process.wait(timeout=300) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()


@pytest.mark.parametrize("kind", ["journal", "grpc+postgresql"])
def test_several_workers(tmp_path, storage_of, kind):
    storage = storage_of(kind)
    path = study(tmp_path, cells=5)
    assert run_all([start(tmp_path, path, "--workers", "4", *storage, FAKE_NO_REPORT="1")]) == [0]
    trials = check_once(tmp_path, storage, 5)
    assert len(trials) == 5  # no attempt too many
    assert [trial.params for trial in trials] == [{"x": f"c{i}", "seed": 0} for i in range(5)]


@pytest.mark.parametrize("kind", ["journal", "postgresql", pytest.param("sqlite", marks=pytest.mark.slow)])
def test_several_coordinators(tmp_path, storage_of, kind):
    """They start at the same moment, with a storage that is not made yet."""
    storage = storage_of(kind)
    path = study(tmp_path, cells=5, set={"fake.epoch_seconds": 0.02})
    started = [start(tmp_path, path, *storage, FAKE_NO_REPORT="1") for _ in range(3)]
    assert run_all(started) == [0, 0, 0], (tmp_path / "coordinator.log").read_text()
    trials = check_once(tmp_path, storage, 5)
    assert len(trials) == 5
    assert len({trial.user_attrs["pid"] for trial in trials}) > 1


@pytest.mark.slow
@pytest.mark.parametrize("coordinators", [1, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_many_cells(tmp_path, storage_of, kind, coordinators):
    storage = storage_of(kind)
    path = study(tmp_path, cells=12, seeds=[0, 1], set={"fake.epoch_seconds": 0.02})
    workers = str(4 // coordinators)
    started = [start(tmp_path, path, "--workers", workers, *storage) for _ in range(coordinators)]
    assert run_all(started) == [0] * coordinators
    assert len(check_once(tmp_path, storage, 24)) == 24
    assert processes_of(tmp_path / "study") == []


@pytest.mark.parametrize("kind", ["postgresql", pytest.param("sqlite", marks=pytest.mark.slow)])
def test_folders_of_their_own(tmp_path, storage_of, kind):
    """As on two machines that share nothing but the database: neither takes the other's trials for dead."""
    storage = storage_of(kind)
    path = study(tmp_path, cells=4, set={"fake.epoch_seconds": 0.3})
    folders = [tmp_path / name for name in ("one", "two")]
    started = [start(tmp_path, path, *storage, "--folder", str(f), FAKE_NO_REPORT="1") for f in folders]
    assert run_all(started) == [0, 0]
    (tmp_path / "study").mkdir()
    check_once(tmp_path, storage, 4)
    assert all(len(list(folder.glob("cells/*/*/result.json"))) > 0 for folder in folders)


# -- what plain Optuna sees ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["journal", "sqlite"])
def test_plain_optuna_reads_a_study(tmp_path, storage_of, monkeypatch, kind):
    storage = storage_of(kind)
    path = study(tmp_path, cells=3, fake={2: {"fake.fail": "nan"}})
    monkeypatch.setenv("FAKE_ROOT", str(tmp_path))
    assert sweep("run", path, "--folder", tmp_path / "study", *storage) == 1
    url = storage[1] if storage else str(tmp_path / "study" / "journal.log")
    command = [str(Path(sys.executable).with_name("optuna")), "trials", "--study-name", "study", "--storage", url]
    if not storage:
        command += ["--storage-class", "JournalFileBackend"]
    done = subprocess.run([*command, "-f", "json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    listed = json.loads(done.stdout)
    assert [trial["state"] for trial in listed] == ["COMPLETE", "COMPLETE", "FAIL"]
    assert [trial["params"]["x"] for trial in listed] == ["c0", "c1", "c2"]
    values = [trial.values[0] for trial in trials_of(tmp_path, storage)[:2]]
    assert [trial["value"] for trial in listed[:2]] == pytest.approx(values)


def test_ablations_never_prune(tmp_path):
    path = study(tmp_path)
    from biformer_lit.sweep.spec.study_reader import read_spec  # noqa: PLC0415

    ledger = open_ledger(read_spec(path), tmp_path / "study", print)
    assert isinstance(ledger.study.pruner, optuna.pruners.NopPruner)
    with pytest.raises(ConfigError, match="stopped cells would bias the table"):
        read_spec(study(tmp_path, search={"prune": True}))


# -- opening and waiting -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite:////nowhere/at/all.db", "cannot be opened"),
        ("nonsense", "cannot be opened"),
        ("grpc://host", "give both"),
        ("mysql+nothing://a:secret@b/c", r"mysql\+nothing://a:\*\*\*@b/c"),
    ],
)
def test_a_storage_that_cannot_be_opened(tmp_path, url, message):
    with pytest.raises(ConfigError, match=message) as raised:
        open_storage(url, tmp_path)
    assert "\n" not in str(raised.value)
    assert "secret" not in str(raised.value)


def test_patience():
    said, calls = [], []

    class OperationalError(Exception):
        pass

    def call():
        calls.append(1)
        if len(calls) < 3:
            raise OperationalError("gone\naway")
        return 7

    assert patiently(call, said.append) == 7
    assert said == ["the storage does not answer (gone); waiting"]
    with pytest.raises(StorageError, match="has not answered for 0 s"):
        patiently(lambda: (_ for _ in ()).throw(OperationalError("x")), said.append, 0)
    with pytest.raises(KeyError):
        patiently(lambda: {}["nothing"], said.append)
    full = OSError(28, "No space left on device")
    with pytest.raises(StorageError, match="No space left"):
        patiently(lambda: (_ for _ in ()).throw(full), said.append, 0)


def test_a_journal_that_was_cut_off(tmp_path, monkeypatch):
    """By a kill or a full disk, in the middle of a line."""
    path = study(tmp_path, cells=2)
    monkeypatch.setenv("FAKE_ROOT", str(tmp_path))
    assert sweep("run", path, "--folder", tmp_path / "study") == 0
    journal = tmp_path / "study" / "journal.log"
    whole = journal.read_bytes()
    for cut in (b'{"op_code": 6, "wor', b"x" * 70000, b'{"op_code":8'):
        journal.write_bytes(whole + cut)
        study(tmp_path, cells=2, seeds=[0, 1])
        with contextlib.suppress(ConfigError):  # a changed study is refused, but not before the journal is written to
            sweep("run", path, "--folder", tmp_path / "study")
        ledger = ledger_of(tmp_path / "study")
        ledger.note("after", "the cut")
        assert ledger_of(tmp_path / "study").attribute("after") == "the cut"
        assert len(ledger.trials()) == 2
        assert all(json.loads(line) for line in journal.read_text().splitlines())
    journal.write_bytes(whole[:-30])  # the end of a trial went missing: its result is taken from the folder
    study(tmp_path, cells=2)
    assert sweep("run", path, "--folder", tmp_path / "study") == 0
    check_once(tmp_path, [], 2)


@pytest.mark.parametrize(
    ("damage", "number"),
    [
        (lambda lines: [*lines[:3], b"\0" * 40 + b"\n", *lines[4:]], 4),
        (lambda lines: [lines[0], b"2026-01-01 a log of something else\n", *lines[1:]], 2),
        (lambda _: [b'{"a": 1}\n', b'{"b": 2}\n'], 1),
        (lambda _: [b"[]\n"], 1),
        (lambda lines: [b"12\n", *lines], 1),
    ],
)
def test_a_journal_that_is_damaged_or_somebody_elses(tmp_path, monkeypatch, damage, number):
    monkeypatch.setenv("FAKE_ROOT", str(tmp_path))
    path = study(tmp_path, cells=1)
    assert sweep("run", path, "--folder", tmp_path / "study") == 0
    journal = tmp_path / "study" / "journal.log"
    journal.write_bytes(b"".join(damage(journal.read_bytes().splitlines(keepends=True))))
    with pytest.raises(ConfigError, match=rf"journal\.log: line {number} \(.*put a copy back") as raised:
        sweep("run", path, "--folder", tmp_path / "study")
    assert "\n" not in str(raised.value)
    journal.unlink()  # as the message says: what is complete is in the trials' folders
    assert sweep("run", path, "--folder", tmp_path / "study") == 0
    check_once(tmp_path, [], 1)


def test_records_that_make_no_study(tmp_path):
    line = {"op_code": 4, "worker_id": "w", "study_id": 0, "datetime_start": "yesterday", "state": "?"}
    (tmp_path / "journal.log").write_text(
        json.dumps({"op_code": 0, "worker_id": "w", "study_name": "s", "directions": [2]})
        + "\n"
        + json.dumps(line)
        + "\n"
    )
    with pytest.raises(ConfigError, match=r"journal\.log"):
        open_storage(None, tmp_path)


@pytest.mark.parametrize("kind", ["journal", "sqlite"])
def test_a_record_that_is_removed(tmp_path, monkeypatch, storage_of, kind):
    """It is said at once, and in words."""
    arguments = storage_of(kind)
    monkeypatch.setenv("FAKE_ROOT", str(tmp_path))
    assert sweep("run", study(tmp_path, cells=1), "--folder", tmp_path / "study", *arguments) == 0
    ledger = ledger_of(tmp_path / "study")
    (tmp_path / ("study/journal.log" if kind == "journal" else "study.db")).unlink()
    with pytest.raises(StorageError, match=r"(journal\.log|study\.db) is gone; put it back"):
        ledger.note("x", "y")
