"""The two large parts of a small diffusion model, marked apart: one is called ten times for a picture, one once.

``almaflow profile examples/profile/stable_diffusion_unet.py --function denoise --function decode -- --pictures 3`` runs
it. Nothing is downloaded.
"""

import argparse

import torch
from small_diffusion import STEPS, Decoder, UNet

parser = argparse.ArgumentParser()
parser.add_argument("--pictures", type=int, default=3)
parser.add_argument("--tiny", action="store_true", help="small sizes")
arguments = parser.parse_args()
WIDTH, SIZE, LOOPS = (16, 8, 3) if arguments.tiny else (64, 32, 10)

torch.manual_seed(0)
unet, decoder = UNet(WIDTH, WIDTH).eval(), Decoder(WIDTH).eval()


def denoise(latents: torch.Tensor, step: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    """Take away what the model thinks is noise."""
    return latents - unet(latents, step, text) / LOOPS


def decode(latents: torch.Tensor) -> torch.Tensor:
    """Return pixels."""
    return decoder(latents)


if __name__ == "__main__":
    with torch.no_grad():
        for _ in range(arguments.pictures):
            latents, text = torch.randn(1, 4, SIZE, SIZE), torch.randn(1, 16, WIDTH)
            for step in range(STEPS - 1, 0, -max(1, STEPS // LOOPS)):
                latents = denoise(latents, torch.tensor([step]), text)
            picture = decode(latents)
    print(tuple(picture.shape))
