"""The parts of a small latent diffusion model with random weights, which the examples beside it put together."""

import math

import torch
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

STEPS = 50
"""Steps that the model would have been trained with."""


class Block(nn.Module):
    """Convolutions that know the step, and attention to the text."""

    def __init__(self, width: int, text_width: int) -> None:
        super().__init__()
        self.norm, self.convolution = nn.GroupNorm(4, width), nn.Conv2d(width, width, 3, padding=1)
        self.step = nn.Linear(width, width)
        self.attention = nn.MultiheadAttention(width, 4, kdim=text_width, vdim=text_width, batch_first=True)

    def forward(self, x: torch.Tensor, step: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """Return the block's output, which has the size of its input."""
        x = x + self.convolution(torch.nn.functional.silu(self.norm(x))) + self.step(step)[:, :, None, None]
        rows = x.flatten(2).transpose(1, 2)
        rows = rows + self.attention(rows, text, text, need_weights=False)[0]
        return rows.transpose(1, 2).unflatten(2, x.shape[2:])


class UNet(nn.Module):
    """Predicts the noise in latents, or their velocity: down once, up once."""

    def __init__(self, width: int, text_width: int, channels: int = 4) -> None:
        super().__init__()
        self.width = width
        self.first, self.last = nn.Conv2d(channels, width, 3, padding=1), nn.Conv2d(width, channels, 3, padding=1)
        self.down, self.up = nn.Conv2d(width, width, 2, stride=2), nn.ConvTranspose2d(width, width, 2, stride=2)
        self.blocks = nn.ModuleList(Block(width, text_width) for _ in range(3))

    def forward(self, latents: torch.Tensor, step: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """Return what is to be taken from the latents."""
        speeds = torch.exp(-math.log(10000) * torch.arange(self.width // 2) / (self.width // 2))
        angles = step.float()[:, None] * speeds
        known = torch.cat([angles.sin(), angles.cos()], dim=1)
        high = self.blocks[0](self.first(latents), known, text)
        low = self.blocks[1](self.down(high), known, text)
        return self.last(self.blocks[2](high + self.up(low), known, text))


class Decoder(nn.Module):
    """Makes a picture of latents."""

    def __init__(self, width: int, channels: int = 4) -> None:
        super().__init__()
        parts = [nn.Conv2d(channels, width, 3, padding=1)]
        for _ in range(2):
            parts += [nn.SiLU(), nn.Upsample(scale_factor=2), nn.Conv2d(width, width, 3, padding=1)]
        self.parts = nn.Sequential(*parts, nn.SiLU(), nn.Conv2d(width, 3, 3, padding=1))

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        """Return pixels between 0 and 1."""
        return torch.sigmoid(self.parts(latents))


def text_encoder(width: int, layers: int) -> nn.Module:
    """Build the encoder of prompts."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=1000,
            hidden_size=width,
            intermediate_size=4 * width,
            num_hidden_layers=layers,
            num_attention_heads=4,
            max_position_embeddings=16,
            bos_token_id=0,
            eos_token_id=1,
        )
    ).eval()


def prompt_ids(prompt: str) -> torch.Tensor:
    """Return a number for each word, filled up to a fixed length."""
    found = [2 + sum(map(ord, word)) % 990 for word in prompt.split()]
    return torch.tensor([([0, *found, 1] + [1] * 16)[:16]])


def kept_share(step: int) -> float:
    """Return how much of the picture is left in the latents of a step."""
    return math.cos(math.pi / 2 * (step + 0.5) / (STEPS + 1)) ** 2
