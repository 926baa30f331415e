"""Servers that studies are kept on."""

# ruff: noqa: E402

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytest.register_assert_rewrite("studies")

import studies
from studies import wait_for

from biformer_lit.sweep.trials.storage import closing

_BIN = Path("/usr/lib/postgresql/15/bin")
_GRPC = """
import sys, optuna, warnings
warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
optuna.storages.run_grpc_proxy_server(optuna.storages.get_storage(sys.argv[1]), host="127.0.0.1", port=int(sys.argv[2]))
"""


class Postgres:
    """A server of our own, in a folder of its own.

    Args:
        folder: Where its data go.
    """

    def __init__(self, folder):
        self.data = folder / "data"
        self.port = free_port()
        self.databases = 0
        # it refuses to be run by root
        self.user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.getuid() == 0 else []
        self.run("initdb", "-D", self.data, "-A", "trust", "-U", "tester", "--no-sync")
        self.start()

    def run(self, name, *arguments):
        command = [*self.user, str(_BIN / name), *map(str, arguments)]
        subprocess.run(command, check=True, cwd=self.data.parent, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)

    def start(self):
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self.data} -c fsync=off"
        self.run("pg_ctl", "start", "-w", "-D", self.data, "-l", self.data / "log", "-o", options)

    def stop(self, mode="immediate"):
        self.run("pg_ctl", "stop", "-w", "-D", self.data, "-m", mode)

    def kill(self):
        """SIGKILL to the postmaster; its children see that and end."""
        pid = int((self.data / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not Path(f"/proc/{pid}").exists())
        wait_for(lambda: not self.children())

    def children(self):
        """Processes that hold the server's memory, without which it would not start again."""
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if (path / "comm").read_text() == "postgres\n" and (path / "cwd").readlink() == self.data:
                    found.append(int(path.name))
        return found

    def database(self):
        """The address of a new and empty database."""
        self.databases += 1
        name = f"study{self.databases}"
        self.run("createdb", "-h", "127.0.0.1", "-p", self.port, "-U", "tester", name)
        return f"postgresql+psycopg://tester@127.0.0.1:{self.port}/{name}"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(autouse=True)
def _close_storages():
    yield
    while studies.opened:
        with closing(studies.opened.pop()):
            pass


@pytest.fixture(scope="session")
def postgres(tmp_path_factory):
    if not (_BIN / "postgres").exists():
        pytest.skip(f"needs a PostgreSQL server in {_BIN} (apt install postgresql-15)")
    pytest.importorskip("psycopg", reason="needs psycopg (pip install 'psycopg[binary]')")
    # pytest's folders are closed to others, and the server is run by another user
    folder = Path(subprocess.run(["mktemp", "-d"], check=True, capture_output=True, text=True).stdout.strip())
    if os.getuid() == 0:
        shutil.chown(folder, "postgres")
    server = Postgres(folder)
    yield server
    server.stop()
    shutil.rmtree(folder)


@pytest.fixture
def grpc_proxy():
    """Starts Optuna's proxy in front of a database; its address."""
    pytest.importorskip("grpc", reason="needs grpcio")
    processes = []

    def begin(url):
        port = free_port()
        processes.append(subprocess.Popen([sys.executable, "-c", _GRPC, url, str(port)]))
        wait_for(lambda: answers(port))
        return f"grpc://127.0.0.1:{port}"

    yield begin
    for process in processes:
        process.kill()
        process.wait()


def answers(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@pytest.fixture
def storage_of(request, tmp_path):
    """From the kind of a storage to the arguments that name one."""

    def arguments(kind):
        if kind == "journal":
            return []
        if kind == "sqlite":
            return ["--storage", f"sqlite:///{tmp_path}/study.db"]
        if kind == "postgresql":
            return ["--storage", request.getfixturevalue("postgres").database()]
        behind = f"sqlite:///{tmp_path}/behind.db"
        if kind == "grpc+postgresql":
            behind = request.getfixturevalue("postgres").database()
        return ["--storage", request.getfixturevalue("grpc_proxy")(behind)]

    return arguments


@pytest.fixture(scope="module")
def browser():
    """The system's chromium, without a window."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright (pip install playwright)")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("needs chromium (apt install chromium)")
    with playwright.sync_playwright() as play:
        started = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield started
        started.close()
