"""Classes of pictures by a small ResNet with random weights: NumPy in front, the best three classes behind.

``almaflow profile examples/profile/resnet.py --function classify -- --pictures 8`` runs it. Nothing is downloaded.
"""

import argparse

import numpy as np
import torch
from transformers import ResNetConfig, ResNetForImageClassification

parser = argparse.ArgumentParser()
parser.add_argument("--pictures", type=int, default=8)
parser.add_argument("--tiny", action="store_true", help="small sizes")
arguments = parser.parse_args()
WIDTH, SIZE = (8, 32) if arguments.tiny else (64, 224)

torch.manual_seed(0)
model = ResNetForImageClassification(
    ResNetConfig(
        embedding_size=WIDTH,
        hidden_sizes=[WIDTH, 2 * WIDTH, 4 * WIDTH, 8 * WIDTH],
        depths=[1, 1, 1, 1] if arguments.tiny else [2, 2, 2, 2],
        layer_type="basic",
        num_labels=100,
    )
).eval()


def classify(picture: np.ndarray) -> list[int]:
    """Return the three likeliest classes of a picture of bytes."""
    pixels = (picture.astype(np.float32) / 255 - 0.45) / 0.225
    logits = model(torch.from_numpy(pixels.transpose(2, 0, 1)[None])).logits
    return logits[0].topk(3).indices.tolist()


if __name__ == "__main__":
    draws = np.random.default_rng(0)
    with torch.no_grad():
        for _ in range(arguments.pictures):
            classes = classify(draws.integers(0, 255, (SIZE, SIZE, 3), dtype=np.uint8))
    print(classes)
