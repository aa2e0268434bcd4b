"""Builds models and example inputs from their specs. Used in workers: its modules import torch."""
