"""Semantic search with a small sentence encoder of random weights: sorting, batches, mean pooling and a ranking.

``almaflow profile examples/profile/semantic_search.py --function search -- --queries 6`` runs it. Nothing is
downloaded.
"""

import argparse

import numpy as np
import torch
from transformers import MPNetConfig, MPNetModel

parser = argparse.ArgumentParser()
parser.add_argument("--queries", type=int, default=6)
parser.add_argument("--tiny", action="store_true", help="small sizes")
arguments = parser.parse_args()
WIDTH, LAYERS, DOCUMENTS = (32, 1, 6) if arguments.tiny else (384, 4, 24)
BATCH, LENGTH = 4, 12

torch.manual_seed(0)
model = MPNetModel(
    MPNetConfig(
        vocab_size=1000,
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        intermediate_size=4 * WIDTH,
    ),
    add_pooling_layer=False,
).eval()


def tokens(texts: list[str]) -> np.ndarray:
    """Return a number for each character, filled up to the same length."""
    rows = [[2 + ord(each) % 997 for each in text[:LENGTH]] for text in texts]
    return np.array([row + [1] * (LENGTH - len(row)) for row in rows])


def encode(texts: list[str]) -> np.ndarray:
    """Return the embeddings of texts: the longest ones first, in batches, as sentence-transformers does."""
    order = sorted(range(len(texts)), key=lambda place: -len(texts[place]))
    found = np.zeros((len(texts), WIDTH), np.float32)
    for start in range(0, len(order), BATCH):
        places = order[start : start + BATCH]
        found[places] = embed(tokens([texts[place] for place in places]))
    return found


def embed(rows: np.ndarray) -> np.ndarray:
    """Return the normalised means over the tokens of a batch."""
    ids = torch.from_numpy(rows)
    mask = (ids != 1).long()
    hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state
    mean = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    return torch.nn.functional.normalize(mean, dim=1).numpy()


def search(query: str, documents: np.ndarray) -> list[int]:
    """Return the three documents that are nearest to a query."""
    scores = documents @ encode([query])[0]
    return np.argsort(-scores)[:3].tolist()


if __name__ == "__main__":
    with torch.no_grad():
        library = encode([f"text number {number} " + "very " * (number % 3) for number in range(DOCUMENTS)])
        for number in range(arguments.queries):
            best = search(f"number {number % 2}", library)  # PyTorch looks anew for each text
    print(best)
