"""Conversions that Alma builds, and the repairs of what is broken in it. Runs in the worker."""
