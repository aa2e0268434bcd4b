"""Operators in the measured process: the graphs that runtimes execute, and the times of single operators."""
