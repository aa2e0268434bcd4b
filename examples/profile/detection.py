"""Objects by a small Faster R-CNN, cut out by NumPy and classified by a second model: two models and Python between.

``almaflow profile examples/profile/detection.py --function describe -- --pictures 6`` runs it. Nothing is downloaded.
"""

import argparse
from collections import Counter

import numpy as np
import timm
import torch
from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn

parser = argparse.ArgumentParser()
parser.add_argument("--pictures", type=int, default=6)
parser.add_argument("--tiny", action="store_true", help="small sizes")
arguments = parser.parse_args()
SIZE, CROP, LEAST = (64, 32, 0) if arguments.tiny else (320, 96, 0)
MOST = 4

torch.manual_seed(0)
# Weights drawn at random find nothing: the score that is asked for is as low as it can be.
detector = fasterrcnn_mobilenet_v3_large_320_fpn(
    weights=None,
    weights_backbone=None,
    num_classes=5,
    min_size=SIZE,
    max_size=SIZE,
    box_score_thresh=LEAST,
    box_detections_per_img=MOST,
    rpn_post_nms_top_n_test=20,
).eval()
classifier = timm.create_model("resnet10t", pretrained=False, num_classes=20).eval()


def describe(picture: np.ndarray) -> str:
    """Say what is on a picture of bytes."""
    boxes = detect(picture)
    crops = [cut(picture, box) for box in boxes]
    if not crops:
        return "nothing"
    classes = classify(np.stack(crops))
    return ", ".join(f"{number} x {name}" for name, number in Counter(classes).most_common())


def detect(picture: np.ndarray) -> np.ndarray:
    """Return the corners of what the detector finds."""
    pixels = torch.from_numpy(picture.transpose(2, 0, 1).astype(np.float32) / 255)
    return detector([pixels])[0]["boxes"].numpy().astype(int)


def cut(picture: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Return the pixels in a box, at the classifier's size by the nearest neighbours."""
    left, top, right, bottom = box
    rows = np.linspace(top, max(bottom - 1, top), CROP).astype(int).clip(0, len(picture) - 1)
    columns = np.linspace(left, max(right - 1, left), CROP).astype(int).clip(0, picture.shape[1] - 1)
    return picture[rows][:, columns]


def classify(crops: np.ndarray) -> list[int]:
    """Return the likeliest class of each crop."""
    pixels = torch.from_numpy(crops.transpose(0, 3, 1, 2).astype(np.float32) / 255)
    return classifier(pixels).argmax(1).tolist()


if __name__ == "__main__":
    draws = np.random.default_rng(0)
    with torch.no_grad():
        for _ in range(3 if arguments.tiny else arguments.pictures):
            told = describe(draws.integers(0, 255, (SIZE, SIZE, 3), dtype=np.uint8))
    print(told)
