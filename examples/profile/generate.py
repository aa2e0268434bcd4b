"""Text by a small GPT-2 with random weights, token by token: the same graphs at growing lengths.

``almaflow profile examples/profile/generate.py --function step -- --tokens 8`` runs it. Nothing is downloaded.
"""

import argparse

import torch
from transformers import GPT2Config, GPT2LMHeadModel

torch.manual_seed(0)
model = GPT2LMHeadModel(GPT2Config(vocab_size=100, n_positions=64, n_embd=64, n_layer=2, n_head=4)).eval()


def generate(prompt: torch.Tensor, count: int) -> torch.Tensor:
    """Continue a prompt by the likeliest tokens, without a cache."""
    ids = prompt
    for _ in range(count):
        ids = step(ids)
    return ids


def step(ids: torch.Tensor) -> torch.Tensor:
    """Add the likeliest token."""
    logits = model(input_ids=ids, use_cache=False).logits
    return torch.cat([ids, logits[:, -1:].argmax(-1)], dim=1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--tokens", type=int, default=8)
    parser.add_argument("--tiny", action="store_true", help="few tokens")
    arguments = parser.parse_args()
    with torch.no_grad():
        for number in range(3):
            text = generate(torch.tensor([[number + 1, 2, 3]]), 3 if arguments.tiny else arguments.tokens)
    print(text.tolist())
