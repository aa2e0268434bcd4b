"""Calibration: how fast this machine is, and what operations cost on it."""
