"""Benchmark; see --help. Variants take turns in one run, and the ratios of neighbours in time are what counts."""

from biformer_lit.benchmark import bench_data
from biformer_lit.cli import run_command

if __name__ == "__main__":
    run_command(bench_data)
