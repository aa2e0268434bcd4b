"""As ``stable_diffusion.py``, in the way of version 2.1: a wider text encoder, and a model that predicts velocity.

``almaflow profile examples/profile/stable_diffusion_2_1.py --function paint -- --pictures 3`` runs it. Nothing is
downloaded.
"""

import argparse

import torch
from small_diffusion import STEPS, Decoder, UNet, kept_share, prompt_ids, text_encoder

parser = argparse.ArgumentParser()
parser.add_argument("--pictures", type=int, default=3)
parser.add_argument("--tiny", action="store_true", help="small sizes")
arguments = parser.parse_args()
WIDTH, TEXT, SIZE, LOOPS = (16, 32, 8, 3) if arguments.tiny else (64, 128, 48, 10)
KINDS = 1 if arguments.tiny else 2  # different prompts: PyTorch looks at the function anew for each

torch.manual_seed(0)
encoder, unet, decoder = text_encoder(TEXT, 2), UNet(WIDTH, TEXT).eval(), Decoder(WIDTH).eval()


def paint(prompt: str) -> torch.Tensor:
    """Return a picture, by steps from the noisiest to the last."""
    text = encoder(prompt_ids(prompt)).last_hidden_state
    latents = torch.randn(1, 4, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    steps = list(range(STEPS - 1, 0, -max(1, STEPS // LOOPS)))
    for step, following in zip(steps, [*steps[1:], 0], strict=True):
        latents = move(latents, torch.tensor([step]), text, kept_share(step), kept_share(following))
    return decoder(latents)


def move(latents: torch.Tensor, step: torch.Tensor, text: torch.Tensor, now: float, then: float) -> torch.Tensor:
    """Go from one step to the following: velocity tells both the picture and the noise."""
    velocity = unet(latents, step, text)
    picture = now**0.5 * latents - (1 - now) ** 0.5 * velocity
    noise = now**0.5 * velocity + (1 - now) ** 0.5 * latents
    return then**0.5 * picture + (1 - then) ** 0.5 * noise


if __name__ == "__main__":
    with torch.no_grad():
        for number in range(3 if arguments.tiny else arguments.pictures):
            picture = paint(("a horse on the moon", "a red house")[number % KINDS])
    print(tuple(picture.shape))
