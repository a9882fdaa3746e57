"""Benchmarks: what the design promises, measured against something, each figure with its ratio."""
