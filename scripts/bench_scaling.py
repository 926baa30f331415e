"""How much of their speed several processes keep when they train together; see --help."""

import json
import os
import socket
import statistics
import time
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.nn.functional as F
from rich.console import Console
from torch import distributed, multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel

from biformer_lit.benchmark.results import describe_machine
from biformer_lit.cli import parse_fit, run_command
from biformer_lit.cli.reading import build
from biformer_lit.errors import ConfigError


def bench_scaling(
    config: str = "cifar10",
    dataset: str | None = None,
    processes: int = 2,
    threads: int = 1,
    steps: int = 6,
    rounds: int = 15,
    out: str | None = None,
) -> None:
    """Compare one process that trains alone with several that train together, in turns, on the CPU.

    All of it counts: reading and augmenting images in the training process, forward, backward, exchange of gradients,
    optimiser. Each process has a whole batch, so the efficiency is the time of a step alone over that of a step
    together: 1 means that N processes see N times as many images in the same time. For comparison all train at the same
    time without exchanging anything, which shows what sharing the machine costs by itself.

    Args:
        config: Recipe or file of a classification run.
        dataset: Data set instead of the config's.
        processes: How many train together.
        threads: Threads of each of them.
        steps: Steps in one turn.
        rounds: How often both have their turn.
        out: JSON file to write.

    Raises:
        ConfigError: If a number is out of its range, or ``out`` exists.
    """
    for name, value, least in (
        ("processes", processes, 2),
        ("threads", threads, 1),
        ("steps", steps, 1),
        ("rounds", rounds, 1),
    ):
        if value < least:
            raise ConfigError(f"{name}={value} must be {least} or more")
    if out is not None and Path(out).exists():
        raise ConfigError(f"out={out!r} exists already; remove it or choose another name")
    options = ["--config", config, "--data.num_workers", "0"]
    complete = parse_fit(options if dataset is None else [*options, "--data.dataset", dataset])
    os.environ["OMP_NUM_THREADS"] = str(threads)
    with TemporaryDirectory() as folder:
        arguments = (processes, threads, steps, rounds, complete, folder)
        multiprocessing.start_processes(_train, arguments, nprocs=processes, start_method="spawn")
        seconds = json.loads((Path(folder) / "seconds.json").read_text())
    ratios, apart = (
        [alone / other for alone, other in zip(seconds["alone"], seconds[name], strict=True)]
        for name in ("together", "apart")
    )
    torch.set_num_threads(threads)
    result = {
        "config": config,
        "processes": processes,
        "seconds_alone": statistics.median(seconds["alone"]) / steps,
        "seconds_together": statistics.median(seconds["together"]) / steps,
        "efficiency": statistics.median(ratios),
        "lowest": min(ratios),
        "highest": max(ratios),
        "efficiency_without_exchange": statistics.median(apart),
        "rounds": rounds,
        "machine": describe_machine(torch.device("cpu")),
    }
    console = Console()
    console.print(
        f"{config}: {processes} processes keep {result['efficiency']:.3f} of their speed "
        f"({result['lowest']:.3f} to {result['highest']:.3f} in {rounds} rounds); a step takes "
        f"{1e3 * result['seconds_alone']:.0f} ms alone, {1e3 * result['seconds_together']:.0f} ms together; without "
        f"exchanging gradients they keep {result['efficiency_without_exchange']:.3f}"
    )
    console.print(result["machine"] + " each", highlight=False)
    if out is not None:
        Path(out).write_text(json.dumps(result, indent=2) + "\n")


class _Steps:
    """Training steps of one network."""

    def __init__(self, complete: dict[str, Any], *, together: bool) -> None:
        task, data = build(complete)
        data.prepare_data()
        data.setup("fit")
        task.num_classes = data.num_classes
        task.configure_model()
        self.net: nn.Module = DistributedDataParallel(task.net) if together else task.net
        self.optimizer = task.optim.build(task.net, 1e-3)
        self.loader = data.train_dataloader()
        self.batches = iter(self.loader)

    def __call__(self, steps: int) -> float:
        """Seconds that so many steps take."""
        started = time.perf_counter()
        for _ in range(steps):
            batch = next(self.batches, None)
            if batch is None:
                self.batches = iter(self.loader)
                batch = next(self.batches)
            F.cross_entropy(self.net(batch["image"]), batch["label"]).backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
        return time.perf_counter() - started


def _train(
    rank: int, processes: int, threads: int, steps: int, rounds: int, complete: dict[str, Any], folder: str
) -> None:
    torch.set_num_threads(threads)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo" if "lo" in dict(socket.if_nameindex()).values() else "")
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=processes, timeout=timedelta(hours=1)
    )
    together = _Steps(complete, together=True)
    apart = _Steps(complete, together=False)
    turns = {"alone": apart if rank == 0 else None, "together": together, "apart": apart}
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    for number in range(rounds + 1):  # the first allocates, and fills caches
        for name, train in turns.items():
            distributed.barrier()  # the others wait here, asleep, while one trains alone
            taken = train(steps) if train is not None else 0.0
            if rank == 0 and number:
                seconds[name].append(taken)
                print(f"round {number} of {rounds}, {name}: {taken:.2f} s", flush=True)
    if rank == 0:
        (Path(folder) / "seconds.json").write_text(json.dumps(seconds))
    distributed.destroy_process_group()


if __name__ == "__main__":
    run_command(bench_scaling)
