"""Configs, costs and objectives of this package's tasks, for studies."""

import inspect
from collections.abc import Mapping
from pkgutil import resolve_name
from typing import Any


class TrainingRuns:
    """Runs of ``fit``, as :class:`biformer_lit.sweep.spec.runs.Runs` wants them.

    Each method imports what it needs, for most commands of a study need none of it, and PyTorch takes its time.
    """

    def config(self, arguments: list[str]) -> dict[str, Any]:
        """Return the complete config that ``fit ARGUMENTS`` means."""
        from biformer_lit.cli.reading import complete_config  # noqa: PLC0415

        return complete_config(arguments)

    def costs(self, config: Mapping[str, Any]) -> dict[str, int]:
        """Return the network's parameters and its multiply-adds for one image."""
        from biformer_lit.profiling import measure_config  # noqa: PLC0415

        parameters, macs = measure_config(config)
        return {"parameters": parameters, "macs": macs}

    def seconds(self, config: Mapping[str, Any]) -> float:
        """Return the seconds that a config would train here, from a few steps."""
        from biformer_lit.cli.reading import estimate  # noqa: PLC0415

        return estimate(dict(config))

    def objective(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the ``metric`` and ``mode`` that a config's task is judged by; empty if it has none."""
        path = str(config.get("model", {}).get("class_path", ""))
        task: Any = resolve_name(path) if "." in path else None
        return {"metric": task.monitor, "mode": task.mode} if hasattr(task, "monitor") else {}

    def default(self, class_path: str, argument: str) -> Any:
        """Return the default of a class's argument.

        Raises:
            LookupError: If there is no such class or argument, or it has no default.
        """
        try:
            found = inspect.signature(resolve_name(class_path)).parameters[argument].default
        except (ImportError, AttributeError, ValueError) as error:
            raise LookupError(f"{class_path}: there is no such class whose arguments can be read") from error
        if found is inspect.Parameter.empty:
            raise LookupError(f"{argument} of {class_path} has no default")
        return found
