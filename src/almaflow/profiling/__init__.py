"""Where the time of a model goes, by a runtime's own profiler."""
