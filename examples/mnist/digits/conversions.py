"""The conversions that this package adds to almaflow's. Imports nothing slow: the catalogue reads it."""

from almaflow.conversions import ConversionPlugin

_NEEDS = ("torchao>=0.11",)
_PTQ = "torchao's static int8 (PT2E), calibrated on the calibration inputs"
_QAT = "the int8 graph that quantisation-aware training left (PT2E)"

CONVERSIONS = [
    ConversionPlugin(
        name=name,
        builder=f"digits.steps:{function}",
        does=f"{does}, {runs}",
        family="pt2e",
        device="cpu",
        dtype="int8",
        needs=_NEEDS,
    )
    for name, function, does, runs in (
        ("PTQ_INT8", "ptq", _PTQ, "emulated by PyTorch"),
        ("QAT_INT8", "qat", _QAT, "emulated by PyTorch"),
        ("COMPILE_PTQ_INT8", "compiled_ptq", _PTQ, "compiled by inductor"),
        ("COMPILE_QAT_INT8", "compiled_qat", _QAT, "compiled by inductor"),
    )
]
