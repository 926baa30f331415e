"""Benchmarks that anyone can run: variants in turns, ratios, memory, and the roofline beside them."""

from biformer_lit.benchmark.attention import bench_attention
from biformer_lit.benchmark.data import bench_data
from biformer_lit.benchmark.models import bench_model, bench_train

__all__ = ["bench_attention", "bench_data", "bench_model", "bench_train"]
