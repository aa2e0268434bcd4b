"""Text by a small GPT-Neo with random weights: ``generate`` with its growing cache and its Python around each step.

``almaflow profile examples/profile/gpt_neo.py --function write -- --texts 4`` runs it. Nothing is downloaded.
"""

import argparse

import torch
from transformers import GPTNeoConfig, GPTNeoForCausalLM

parser = argparse.ArgumentParser()
parser.add_argument("--texts", type=int, default=4)
parser.add_argument("--tiny", action="store_true", help="small sizes")
arguments = parser.parse_args()
WIDTH, PAIRS, TOKENS = (32, 1, 2) if arguments.tiny else (256, 2, 16)
KINDS = 1 if arguments.tiny else 2  # different prompts: PyTorch looks at the function anew for each

torch.manual_seed(0)
model = GPTNeoForCausalLM(
    GPTNeoConfig(
        vocab_size=1000,
        max_position_embeddings=128,
        hidden_size=WIDTH,
        num_layers=2 * PAIRS,
        num_heads=4,
        attention_types=[[["global", "local"], PAIRS]],
        bos_token_id=0,
        eos_token_id=0,
    )
).eval()


def write(prompt: list[int]) -> list[int]:
    """Continue a prompt by the likeliest tokens."""
    ids = torch.tensor([prompt])
    found = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=TOKENS, do_sample=False, pad_token_id=0
    )
    return found[0].tolist()


if __name__ == "__main__":
    with torch.no_grad():
        for number in range(3 if arguments.tiny else arguments.texts):
            text = write([number % KINDS + 1, 2, 3])
    print(text)
