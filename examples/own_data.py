"""Measure a model on its user's own data: outputs are compared on these batches, and labels are left out."""

import torch
from torch.utils.data import DataLoader, TensorDataset

import almaflow

images = torch.rand(64, 1, 28, 28)
labels = torch.randint(0, 10, (64,))
loader = DataLoader(TensorDataset(images, labels), batch_size=8)

model = torch.nn.Sequential(
    torch.nn.Conv2d(1, 8, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(8, 10)
)
result = almaflow.validate(
    model, data_loader=loader, model_name="digits", conversions=["EAGER", "JIT_TRACE"], measure="quick"
)
result.print()
print(result.to_frame()[["conversion", "latency_ms", "throughput", "fidelity/sqnr_db"]])
