"""Train a model, keep its weights in a file, and measure the trained model.

The callable that builds the model runs in each worker, and ``model.weights`` is loaded into what it returns.
"""

import tempfile
from pathlib import Path

import torch

import almaflow

RADIUS = 0.8


def build() -> torch.nn.Module:
    """Return the model with random weights."""
    return torch.nn.Sequential(torch.nn.Linear(2, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2))


def train(model: torch.nn.Module) -> float:
    """Learn whether a point lies inside of a circle; returns the share of points that are right."""
    points = torch.rand(512, 2) * 2 - 1
    inside = (points.norm(dim=1) < RADIUS).long()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(100):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(points), inside).backward()
        optimizer.step()
    return float((model(points).argmax(dim=1) == inside).float().mean())


with tempfile.TemporaryDirectory() as directory:
    torch.manual_seed(0)
    model = build()
    print(f"{train(model):.0%} of the points are right")
    weights = Path(directory, "circle.pt")
    torch.save(model.state_dict(), weights)
    result = almaflow.validate(
        build,
        torch.rand(8, 2),
        model_name="circle",
        conversions=["EAGER", "JIT_TRACE"],
        measure="quick",
        overrides=[f"model.weights={weights}"],
    )
result.print()
