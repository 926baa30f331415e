"""``python -m biformer_lit``."""

from biformer_lit import cli
from biformer_lit.running.invocation import keep_safe_path
from biformer_lit.running.parent import die_with_parent


def run() -> None:
    """Entry point of the command line."""
    die_with_parent()
    keep_safe_path()
    cli.run()


if __name__ == "__main__":
    run()
