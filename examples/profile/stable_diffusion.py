"""Pictures by a small latent diffusion model with random weights: the whole pipeline is one function.

``almaflow profile examples/profile/stable_diffusion.py --function paint -- --pictures 3`` runs it. Nothing is
downloaded.
"""

import argparse

import torch
from small_diffusion import STEPS, Decoder, UNet, kept_share, prompt_ids, text_encoder

parser = argparse.ArgumentParser()
parser.add_argument("--pictures", type=int, default=3)
parser.add_argument("--tiny", action="store_true", help="small sizes")
arguments = parser.parse_args()
WIDTH, SIZE, LOOPS = (16, 8, 3) if arguments.tiny else (64, 32, 10)
KINDS = 1 if arguments.tiny else 2  # different prompts: PyTorch looks at the function anew for each
GUIDANCE = 7.5

torch.manual_seed(0)
encoder, unet, decoder = text_encoder(WIDTH, 1), UNet(WIDTH, WIDTH).eval(), Decoder(WIDTH).eval()


def paint(prompt: str) -> torch.Tensor:
    """Return a picture: noise is taken away in steps, each guided by the prompt and by an empty one."""
    text = torch.cat([encode(""), encode(prompt)])
    latents = torch.randn(1, 4, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    for step in range(STEPS - 1, 0, -max(1, STEPS // LOOPS)):
        latents = denoise(latents, torch.tensor([step, step]), text, kept_share(step))
    return decode(latents)


def encode(prompt: str) -> torch.Tensor:
    """Return the embeddings of a prompt."""
    return encoder(prompt_ids(prompt)).last_hidden_state


def denoise(latents: torch.Tensor, step: torch.Tensor, text: torch.Tensor, kept: float) -> torch.Tensor:
    """Take away what the model thinks is noise."""
    without, with_prompt = unet(torch.cat([latents, latents]), step, text).chunk(2)
    noise = without + GUIDANCE * (with_prompt - without)
    return latents - (1 - kept) ** 0.5 / LOOPS * noise


def decode(latents: torch.Tensor) -> torch.Tensor:
    """Return pixels."""
    return (decoder(latents) * 255).round().byte()


if __name__ == "__main__":
    with torch.no_grad():
        for number in range(3 if arguments.tiny else arguments.pictures):
            picture = paint(("a horse on the moon", "a red house")[number % KINDS])
    print(tuple(picture.shape))
