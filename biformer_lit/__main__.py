"""``python -m biformer_lit``."""

from biformer_lit.cli import run

if __name__ == "__main__":
    run()
