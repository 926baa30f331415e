"""Liveness of other processes' trials: by locks on this machine, and by heartbeats of other machines."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from biformer_lit.sweep.trials.process import lock_folder

STALE = 600.0
"""Seconds without a sign of life after which a trial of another machine is given up, by our own clock."""
_LONG_DEAD = 6 * 3600.0  # seconds of silence that no clock that is a little wrong explains
_LONG_DEAD_PATIENCE = 150.0  # seconds that we watch for a sign of life then, in which there would be two
_WORTH_A_WORD = 120.0  # seconds of silence by the other's clock from which on we say what we wait for
UNOWNED = 60.0  # seconds that a trial in a database may run before its owner's name, or its job, is written


class Watch:
    """Tells the living from the dead.

    Args:
        owner: Name of this machine as it runs now, with the study's folder: host:boot:device:inode.
        folder: The study's folder.
        local: Whether everybody who has the storage has this very folder.
        say: Gets a line of text for people.
    """

    def __init__(self, owner: str, folder: Path, local: bool, say: Callable[[str], None]) -> None:
        self.owner, self.folder, self.local, self.say = owner, folder, local, say
        self._watched: dict[int, tuple[Any, float]] = {}  # number to the sign of life seen last, and when that was

    def is_alive(self, trial: FrozenTrial) -> bool:
        """Return whether somebody is at work on it, as far as can be told by now."""
        if not self.lock_decides(trial):
            known = "owner" in trial.user_attrs and "job" in trial.user_attrs
            return self._unheard(trial) < (self._patience_with(trial) if known else UNOWNED)
        job = trial.user_attrs.get("job")  # without one, it is being drawn
        lock = lock_folder(self.folder if job is None else self.folder / "cells" / job)
        if lock is None:
            return True
        lock.close()
        return False

    def lock_decides(self, trial: FrozenTrial) -> bool:
        """Return whether a lock in our folder tells if its owner lives: one on this machine, in this boot or before.

        A machine that was started anew has another boot id and holds no lock; neither does a container whose like has
        taken its place, which has another host name and the same boot id.
        """
        owner = trial.user_attrs.get("owner", self.owner if self.local else "")
        if owner == self.owner:
            return True
        host, boot, device, inode = ([*owner.rsplit(":", 3), "", "", "", ""])[:4]
        our_host, our_boot, our_device, our_inode = self.owner.rsplit(":", 3)
        if boot and boot == our_boot:
            return (device, inode) == (our_device, our_inode)
        same_folder = self.local or inode == our_inode  # disks may be renumbered
        return bool(boot and our_boot) and host == our_host and same_folder

    def _patience_with(self, trial: FrozenTrial) -> float:
        """Seconds without a sign of life, as we watch, after which a trial is given up."""
        return _LONG_DEAD_PATIENCE if _silent(trial) > _LONG_DEAD else STALE

    def _unheard(self, trial: FrozenTrial) -> float:
        """Seconds that we have watched for a sign of life and seen none; other machines' clocks may be wrong."""
        sign, now = (trial.user_attrs.get("owner"), trial.user_attrs.get("seen")), time.monotonic()
        before, since = self._watched.get(trial.number, (None, now))
        if before == sign:
            return now - since
        first = before is None
        self._watched[trial.number] = (sign, now)
        if first and _silent(trial) > _WORTH_A_WORD and "job" in trial.user_attrs:
            host = str(trial.user_attrs.get("owner", "another machine")).partition(":")[0]
            self.say(
                f"{trial.user_attrs['job']}: {host} gave its last sign of life {_silent(trial) / 60:.0f} min ago by "
                f"its clock; without another one within {self._patience_with(trial) / 60:.0f} min it is trained again"
            )
        return 0.0


def _silent(trial: FrozenTrial) -> float:
    """Seconds since its last sign of life."""
    start = 0.0 if trial.datetime_start is None else trial.datetime_start.timestamp()
    return float(time.time() - trial.user_attrs.get("seen", start))
