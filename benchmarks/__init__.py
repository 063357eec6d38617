"""Measurements of the kernel, as ratios to raw trio in the same run: `python -m benchmarks`."""
