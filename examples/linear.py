"""Measure two linear layers in eager PyTorch and in TorchScript: the smallest job there is."""

import torch

import almaflow

model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 4))
result = almaflow.validate(
    model,
    torch.randn(1, 64),
    model_name="linear",
    conversions=["EAGER", "JIT_TRACE"],
    measure="quick",
)
result.print()
