"""Sentiment of texts by a small DistilBERT with random weights: where does the time go, and what would be faster?

``almaflow profile examples/profile/sentiment.py --function predict -- --texts 20`` runs it. Nothing is downloaded: the
vocabulary is made here.
"""

import argparse
import re

import numpy as np
import torch
from transformers import DistilBertConfig, DistilBertForSequenceClassification

WORDS = [
    "this",
    "film",
    "is",
    "a",
    "great",
    "bad",
    "slow",
    "lovely",
    "boring",
    "story",
    "with",
    "no",
    "end",
    "and",
    "very",
    "nice",
    "music",
]
VOCABULARY = {word: number for number, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
LENGTH = 32

torch.manual_seed(0)
model = DistilBertForSequenceClassification(
    DistilBertConfig(vocab_size=len(VOCABULARY), dim=64, hidden_dim=128, n_layers=2, n_heads=4)
).eval()


def tokens(text: str) -> list[int]:
    """Return the numbers of a text's words, filled up to a fixed length."""
    found = [VOCABULARY.get(word, 1) for word in re.findall(r"\w+", text.lower())]
    return ([2, *found, 3] + [0] * LENGTH)[:LENGTH]


def predict(text: str) -> str:
    """Say whether a text is positive."""
    ids = torch.from_numpy(np.array([tokens(text)]))  # NumPy is Python to PyTorch: here its graphs begin
    logits = model(input_ids=ids, attention_mask=(ids > 0).long()).logits
    return "positive" if logits.argmax().item() else "negative"


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--texts", type=int, default=20)
    parser.add_argument("--tiny", action="store_true", help="few texts")
    arguments = parser.parse_args()
    count = 8 if arguments.tiny else arguments.texts
    with torch.no_grad():
        # Few different ones: PyTorch looks at a function anew for each text, and such calls do not count.
        answers = [predict(f"this film is {('great', 'bad', 'slow')[i % 3]}") for i in range(count)]
    print(f"{answers.count('positive')} of {len(answers)} texts are positive")
