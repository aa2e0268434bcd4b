"""Translation by a small T5 with random weights: the encoder runs once for a text, the decoder once for each token.

``almaflow profile examples/profile/t5.py --function translate -- --texts 4`` runs it. Nothing is downloaded.
"""

import argparse

import torch
from transformers import T5Config, T5ForConditionalGeneration

parser = argparse.ArgumentParser()
parser.add_argument("--texts", type=int, default=4)
parser.add_argument("--tiny", action="store_true", help="small sizes")
arguments = parser.parse_args()
WIDTH, LAYERS, TOKENS = (32, 1, 2) if arguments.tiny else (256, 4, 12)
KINDS = 1 if arguments.tiny else 2  # different texts: PyTorch looks at the function anew for each

torch.manual_seed(0)
model = T5ForConditionalGeneration(
    T5Config(
        vocab_size=1000,
        d_model=WIDTH,
        d_kv=WIDTH // 4,
        d_ff=2 * WIDTH,
        num_layers=LAYERS,
        num_heads=4,
        decoder_start_token_id=0,
        eos_token_id=1,
        pad_token_id=0,
    )
).eval()


def translate(words: list[int]) -> list[int]:
    """Return the likeliest translation."""
    return model.generate(torch.tensor([words]), max_new_tokens=TOKENS, do_sample=False)[0].tolist()


if __name__ == "__main__":
    with torch.no_grad():
        for number in range(3 if arguments.tiny else arguments.texts):
            text = translate([number % KINDS + 2, 5, 7, 1])
    print(text)
