"""Embeddings by a small MiniLM with random weights; the module itself is marked.

``python examples/profile/minilm.py`` runs it: here the session is in the code. Nothing is downloaded.
"""

import argparse

import torch
from transformers import BertConfig, BertModel

import almaflow


def build(*, tiny: bool) -> torch.nn.Module:
    """Build the model: MiniLM-L6 is a BERT of six narrow layers."""
    width, layers = (32, 2) if tiny else (384, 6)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=1000, hidden_size=width, num_hidden_layers=layers, num_attention_heads=4, intermediate_size=4 * width
    )
    return BertModel(config, add_pooling_layer=False).eval()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--tiny", action="store_true", help="small sizes")
    parser.add_argument("--record-only", action="store_true", help="do not measure")
    arguments = parser.parse_args()
    model = almaflow.accelerate(build(tiny=arguments.tiny), name="minilm")
    measure = None if arguments.record_only else "quick"
    with almaflow.profile("local/EAGER", "local/ONNX_CPU", measure=measure) as session:
        for _ in range(8):
            ids = torch.randint(1000, (1, 16))
            embedding = model(ids).last_hidden_state.mean(1)
    print(tuple(embedding.shape))
    session.report().print()
