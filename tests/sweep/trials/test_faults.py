"""SIGKILL at any moment, to anybody: nothing is lost, nothing is trained twice, nobody is left behind."""

import contextlib
import os
import random
import signal
import time
from pathlib import Path

import pytest
from studies import check_epochs, check_once, completions, processes_of, start, study, table, trainers_of, wait_for


def parent_of(pid):
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


class Storm:
    """Keeps coordinators running on a study, and kills.

    Args:
        root: The test's folder.
        cells: How many cells.
        storage: Arguments that name the storage.
        coordinators: How many at a time.
        seed: Of what is killed when.
        seconds: Of an epoch.
    """

    def __init__(self, root, *, cells, storage, coordinators, seed, seconds=0.1):
        self.root, self.storage, self.count = root, storage, coordinators
        self.random = random.Random(seed)
        # what is killed counts as a failure, as by a machine that is short of memory
        self.path = study(root, cells=cells, retries=1000, budget={"epochs": 6})
        self.environment = {"FAKE_EPOCH_SECONDS": str(seconds), "FAKE_NO_REPORT": "1"}
        self.running, self.kills = [], 0

    def start(self):
        """Start what does not run; whether anything is left to do."""
        for one in [one for one in self.running if one.poll() is not None]:
            self.running.remove(one)
            if one.returncode == 0:
                return False
            # who comes while the database is away is told so
            log = (self.root / "coordinator.log").read_text()
            assert one.returncode == -signal.SIGKILL or "cannot be opened" in log, log[-3000:]
        while len(self.running) < self.count:
            workers = str(4 // self.count)
            self.running.append(start(self.root, self.path, "--workers", workers, *self.storage, **self.environment))
        return True

    def kill_trial(self):
        trainers = trainers_of(self.root)
        if trainers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.random.choice(trainers), signal.SIGKILL)
                self.kills += 1

    def kill_coordinator(self):
        victim = self.random.choice(self.running)
        if victim.poll() is None:
            children = [pid for pid in trainers_of(self.root) if parent_of(pid) == victim.pid]
            victim.kill()
            victim.wait()
            self.kills += 1
            wait_for(lambda: not set(children) & set(trainers_of(self.root)), "for trials to die with their parent")

    def rage(self, rounds, *deeds):
        """That many rounds of killing, if the study lasts, and then let it come to its end."""
        done = 0
        try:
            while done < rounds and self.start():
                time.sleep(self.random.uniform(0.02, 1.2))  # nothing waits for this to be long enough
                self.random.choice(deeds)()
                done += 1
            while self.start():
                self.running[0].wait()
            for one in self.running:
                assert one.wait() == 0, (self.root / "coordinator.log").read_text()[-3000:]
        finally:
            for one in self.running:
                one.kill()
                one.wait()
        return done

    def check(self, cells):
        """What there is at the end, compared with a run that nobody disturbed."""
        check_once(self.root, self.storage, cells)
        check_epochs(self.root)
        wait_for(lambda: not processes_of(self.root), "for everybody to end")
        noted = sum(completions(self.root).values())
        assert start(self.root, self.path, *self.storage).wait() == 0  # trains nothing, and writes the table
        assert sum(completions(self.root).values()) == noted == cells
        calm = self.root.with_name("calm")
        calm.mkdir()
        study(calm, cells=cells, retries=1000, budget={"epochs": 6})
        assert start(calm, calm / "study.yaml", "--workers", "2").wait() == 0
        assert table(self.root) == table(calm)
        print(f"{self.kills} kills")


@pytest.fixture
def storm(tmp_path):
    root = tmp_path / "storm"
    root.mkdir()
    return lambda **options: Storm(root, **options)


def test_kills(storm):
    one = storm(cells=6, storage=[], coordinators=1, seed=0)
    one.rage(3, one.kill_trial, one.kill_coordinator)
    assert one.kills > 0
    one.check(6)


def test_kills_of_a_database(storm, postgres):
    """Coordinators wait for a server that is away, and lose nothing of what it had not written."""
    one = storm(cells=6, storage=["--storage", postgres.database()], coordinators=1, seed=0)

    def kill_server():
        wait_for(lambda: trainers_of(one.root))
        postgres.kill()
        postgres.start()

    assert one.rage(1, kill_server) == 1
    one.check(6)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("coordinators", [1, 2])
@pytest.mark.parametrize("kind", ["journal", "sqlite", "postgresql", "grpc"])
def test_many_kills(storm, storage_of, kind, coordinators, seed):
    one = storm(cells=60, storage=storage_of(kind), coordinators=coordinators, seed=seed)
    assert one.rage(20, one.kill_trial, one.kill_coordinator, one.kill_coordinator) == 20
    one.check(60)


@pytest.mark.slow
def test_many_kills_of_a_database(storm, postgres):
    one = storm(cells=60, storage=["--storage", postgres.database()], coordinators=2, seed=3)

    def kill_server():
        postgres.kill()
        time.sleep(one.random.uniform(0, 2))
        postgres.start()

    def stop_server():
        postgres.stop("immediate")
        postgres.start()

    assert one.rage(20, kill_server, stop_server, one.kill_trial, one.kill_coordinator) == 20
    one.check(60)


@pytest.mark.slow
def test_a_storage_that_stays_away(tmp_path, postgres):
    """One line, no process left behind, and the same command goes on later."""
    storage = ["--storage", postgres.database()]
    path = study(tmp_path, cells=2)
    quick = {"FAKE_EPOCH_SECONDS": "0.3", "FAKE_NO_REPORT": "1", "FAKE_PATIENCE": "1"}
    coordinator = start(tmp_path, path, *storage, **quick)
    try:
        wait_for(lambda: trainers_of(tmp_path))
        postgres.stop()
        assert coordinator.wait() == 1
        wait_for(lambda: not trainers_of(tmp_path))
    finally:
        coordinator.kill()
        postgres.start()
    last = (tmp_path / "coordinator.log").read_text().splitlines()[-1]
    assert last.startswith("error: storage: has not answered for 1 s")
    assert start(tmp_path, path, *storage, FAKE_NO_REPORT="1").wait() == 0
    check_once(tmp_path, storage, 2)
