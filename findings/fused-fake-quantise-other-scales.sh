#!/usr/bin/env bash
# Versions: torch 2.14.1
# Behaviour: FusedMovingAvgObsFakeQuantize rounds by another scale than the one that its calculate_qparams gives, and by
#   which a trained model is converted. The fewer the integers, the further apart. FakeQuantize has one scale.
# Seen: weights up to 1 as integers from -1 to 1: 1.5 in training, 1.0 for conversion; from -3 to 3: 0.389 and 0.333.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/packages.bash"
use runtimes
"$python" - <<'PYTHON'
import torch
from torch.ao.quantization import FakeQuantize, FusedMovingAvgObsFakeQuantize, MovingAveragePerChannelMinMaxObserver

weights = torch.linspace(-1, 1, 9).unsqueeze(0)
for largest in (1, 3, 127):
    scales = {}
    for kind in (FusedMovingAvgObsFakeQuantize, FakeQuantize):
        rounding = kind(
            observer=MovingAveragePerChannelMinMaxObserver,
            quant_min=-largest,
            quant_max=largest,
            dtype=torch.qint8,
            qscheme=torch.per_channel_symmetric,
        )
        rounding(weights)
        scales[kind] = rounding.scale.item() / rounding.calculate_qparams()[0].item()
        print(f"-{largest} to {largest}: {kind.__name__} trains with {scales[kind]:.3f} times the scale of conversion")
    assert abs(scales[FakeQuantize] - 1) < 1e-6
    if largest == 1:
        assert scales[FusedMovingAvgObsFakeQuantize] > 1.4
PYTHON
