#!/usr/bin/env bash
# Versions: openvino 2026.4.1, torch 2.14.1
# Behaviour: OpenVINO converts a real FFT of a traced model and refuses the same one of an exported model. The reason is
#   in the last line of the error; its first line is a place in OpenVINO's source.
# Seen: "No conversion rule found for operations: aten._fft_r2c.default" by export; the right answer by tracing.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/packages.bash"
use runtimes
"$python" - <<'PYTHON'
import openvino
import torch


class Spectrum(torch.nn.Module):
    def forward(self, x):
        return torch.fft.rfft(x).abs()


example = torch.randn(2, 16)
traced = openvino.compile_model(openvino.convert_model(Spectrum(), example_input=example), "CPU")
difference = (torch.from_numpy(traced(example.numpy())[0]) - Spectrum()(example)).abs().max().item()
print(f"by tracing: off by {difference:.2g}")
assert difference < 1e-4
try:
    openvino.convert_model(torch.export.export(Spectrum(), (example,)))
except Exception as error:
    lines = str(error).strip().splitlines()
    print("by export:", lines[-1])
    assert lines[0].startswith("Check 'false' failed at")
    assert "aten._fft_r2c" in lines[-1]
else:
    raise SystemExit("by export: converted")
PYTHON
