"""Builds language models of the transformers library from configs: random weights, and one tensor as output."""

from __future__ import annotations

from typing import Any

import torch

from almaflow.models.optional import optional


class FirstOutput(torch.nn.Module):
    """A model of transformers whose output is one tensor, the first of its outputs.

    Inputs are token IDs and the attention mask, both of shape (N, tokens).
    """

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return hidden states (N, tokens, width), or logits (N, tokens, vocabulary)."""
        output: torch.Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask, return_dict=False)[0]
        return output


def bert(**config: Any) -> FirstOutput:
    """Build BERT's encoder without a head; the defaults are those of bert-base-uncased.

    Args:
        config: Fields of ``transformers.BertConfig`` to set.

    Raises:
        UsageError: the transformers library is not installed.
    """
    transformers = optional("transformers", "transformers")
    return FirstOutput(transformers.BertModel(transformers.BertConfig(**config), add_pooling_layer=False))


def gpt2(**config: Any) -> FirstOutput:
    """Build GPT-2 with its language-model head, without a cache of keys and values; the defaults are those of gpt2.

    Args:
        config: Fields of ``transformers.GPT2Config`` to set.

    Raises:
        UsageError: the transformers library is not installed.
    """
    transformers = optional("transformers", "transformers")
    return FirstOutput(transformers.GPT2LMHeadModel(transformers.GPT2Config(**{"use_cache": False} | config)))
