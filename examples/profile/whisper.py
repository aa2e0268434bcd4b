"""Speech to text by a small Whisper with random weights: NumPy makes a spectrogram, the encoder runs once.

``almaflow profile examples/profile/whisper.py --function transcribe -- --sounds 4`` runs it. Nothing is downloaded.
"""

import argparse

import numpy as np
import torch
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

parser = argparse.ArgumentParser()
parser.add_argument("--sounds", type=int, default=4)
parser.add_argument("--tiny", action="store_true", help="small sizes")
arguments = parser.parse_args()
WIDTH, LAYERS, SECONDS, TOKENS = (32, 1, 1, 2) if arguments.tiny else (384, 4, 30, 12)
RATE = 16000

torch.manual_seed(0)
extract = WhisperFeatureExtractor(chunk_length=SECONDS)
model = WhisperForConditionalGeneration(
    WhisperConfig(
        vocab_size=1000,
        d_model=WIDTH,
        encoder_layers=LAYERS,
        decoder_layers=LAYERS,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=4 * WIDTH,
        decoder_ffn_dim=4 * WIDTH,
        max_source_positions=50 * SECONDS,
        pad_token_id=0,
        bos_token_id=0,
        eos_token_id=1,
        decoder_start_token_id=2,
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )
).eval()


def transcribe(sound: np.ndarray) -> list[int]:
    """Return the likeliest tokens, one after the other."""
    features = torch.from_numpy(np.asarray(extract(sound, sampling_rate=RATE, return_tensors="np").input_features))
    heard = model.model.encoder(features)
    tokens = [2]
    for _ in range(TOKENS):
        tokens.append(next_token(heard, tokens))
    return tokens


def next_token(heard: object, tokens: list[int]) -> int:
    """Return the likeliest next token."""
    logits = model(encoder_outputs=heard, decoder_input_ids=torch.tensor([tokens]), use_cache=False).logits
    return int(logits[0, -1].argmax())


if __name__ == "__main__":
    with torch.no_grad():
        for number in range(3 if arguments.tiny else arguments.sounds):
            times = np.arange(RATE * SECONDS) / RATE
            tokens = transcribe(np.sin(2 * np.pi * (220 + 110 * (number % 2)) * times).astype(np.float32))
    print(tokens)
