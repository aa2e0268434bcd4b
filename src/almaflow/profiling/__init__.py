"""Profiling: the parts of a model's time, by a runtime's own profiler."""
