"""Protocol by which a study learns about runs of ``fit``; networks and tasks are unknown here."""

from collections.abc import Mapping
from typing import Any, Protocol


class Runs(Protocol):
    """The one door between a study and what it trains; :mod:`biformer_lit.cli` has the real one."""

    def config(self, arguments: list[str]) -> dict[str, Any]:
        """Return the complete config that ``python -m biformer_lit fit ARGUMENTS`` means, every default in it.

        Raises:
            ConfigError: On a bad argument or config.
        """

    def costs(self, config: Mapping[str, Any]) -> dict[str, int]:
        """Return what a config's network costs, by the names of the quantities that are known before training.

        Raises:
            ConfigError: If the network cannot be built.
        """

    def seconds(self, config: Mapping[str, Any]) -> float:
        """Return the seconds that a config would train on this machine.

        Raises:
            BiFormerLitError: If that cannot be told.
        """

    def objective(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the figure that a config's task is judged by, as ``metric`` and ``mode``; empty if it does not say."""

    def default(self, class_path: str, argument: str) -> Any:
        """Return the default of a class's argument.

        Raises:
            LookupError: If there is no such class or argument, or it has no default.
        """
