"""A fresh model is settled: what sleeps in it wakes, and every process gets the same model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import torch
    from torch import nn

pytestmark = [pytest.mark.slow, pytest.mark.alma]  # importing torch takes seconds


def sleepy_vit() -> nn.Sequential:
    """Convolution, normalisation, and a head of zeros, as fresh vision transformers have it."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)
    )
    nn.init.zeros_(model[5].get_parameter("weight"))
    return model.eval()


def images(count: int = 4, batch_size: int = 1) -> list[tuple[torch.Tensor, ...]]:
    import torch

    generator = torch.Generator().manual_seed(1)
    return [(3 + 2 * torch.randn(batch_size, 3, 8, 8, generator=generator),) for _ in range(count)]


def test_settling_wakes_what_sleeps_and_restoring_gives_the_same_model_to_the_bit() -> None:
    import torch

    from almaflow.models.build import weights_digest
    from almaflow.models.settle import restore, settle

    model, fresh = sleepy_vit(), sleepy_vit()
    assert weights_digest(model) == weights_digest(fresh)
    with torch.no_grad():
        assert not model(images()[0][0]).ne(model(images()[1][0])).any()
    changed = settle(model, images(), seed=3)
    assert set(changed) == {"5.weight", "1.running_mean", "1.running_var", "1.num_batches_tracked"}
    assert not any(module.training for module in model.modules())
    with torch.no_grad():
        outputs = [model(*batch) for batch in images()]
        before = fresh[0](torch.cat([batch[0] for batch in images()]))
    assert not torch.equal(outputs[0], outputs[1])
    assert torch.allclose(changed["1.running_mean"], before.mean(dim=(0, 2, 3)), atol=1e-5)
    assert torch.allclose(changed["1.running_var"], before.var(dim=(0, 2, 3)), rtol=1e-4)
    restore(fresh, changed)
    assert weights_digest(fresh) == weights_digest(model)
    with torch.no_grad():
        assert all(torch.equal(fresh(*batch), output) for batch, output in zip(images(), outputs, strict=True))
    again = sleepy_vit()
    settle(again, images(), seed=3)
    assert weights_digest(again) == weights_digest(model)


def test_settling_leaves_biases_alone_and_needs_two_rows_for_a_variance() -> None:
    import torch
    from torch import nn

    from almaflow.models.settle import settle

    model = sleepy_vit()
    nn.init.zeros_(model[5].get_parameter("bias"))
    assert set(settle(model, images(count=1), seed=0)) == {"5.weight"}
    assert not torch.any(model[5].get_parameter("bias") != 0)


def test_models_that_ask_for_the_version_of_their_weights_are_restored() -> None:
    """mnasnet refuses weights whose module has no version: plain dictionaries have none."""
    import torch
    from torchvision.models import mnasnet0_5

    from almaflow.models.settle import restore, settle

    one, other = mnasnet0_5().eval(), mnasnet0_5().eval()
    other.load_state_dict(one.state_dict())
    inputs: list[tuple[torch.Tensor, ...]] = [(torch.randn(4, 3, 64, 64),)]
    restore(other, settle(one, inputs, 0))
    assert torch.equal(one(*inputs[0]), other(*inputs[0]))


def test_the_batch_may_be_another_dimension_of_an_input_and_missing_in_one() -> None:
    import torch
    from torch import nn

    from almaflow.models.settle import settle

    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(3)

        def forward(self, sequence: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
            made: torch.Tensor = self.norm(sequence.mean(0) * scale)
            return made

    model = Scaled().eval()
    scale = torch.tensor([1.0, 2.0, 3.0])
    batches: list[tuple[torch.Tensor, ...]] = [(torch.full((5, 1, 3), float(number)), scale) for number in range(4)]
    changed = settle(model, batches, 0, (1, None))
    assert changed["norm.running_mean"].tolist() == [1.5, 3.0, 4.5]
