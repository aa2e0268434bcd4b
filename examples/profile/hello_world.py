"""The smallest session: one function of three operations, its graph in two backends.

``python examples/profile/hello_world.py`` runs it: here the session is in the code. Nothing is downloaded.
"""

import argparse

import torch

import almaflow


@almaflow.accelerate
def predict(x: torch.Tensor) -> torch.Tensor:
    """Compute something."""
    return torch.relu(x @ x.T) + 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--tiny", action="store_true", help="small sizes")
    parser.add_argument("--record-only", action="store_true", help="do not measure")
    arguments = parser.parse_args()
    size = 8 if arguments.tiny else 256
    measure = None if arguments.record_only else "quick"
    with almaflow.profile("local/EAGER", "local/ONNX_CPU", measure=measure) as session:
        for _ in range(8):
            predict(torch.randn(size, size))
    if measure:
        session.verify()
    session.report().print()
