"""Every conversion of the catalogue is exported in a format, or says why not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from almaflow.conversions.catalogue.alma import ALMA
from almaflow.conversions.catalogue.formats import export_format
from almaflow.conversions.catalogue.native import NATIVE
from almaflow.records import ModelSpec
from almaflow.records.export import Format

BY_NAME = {entry.name: entry for entry in (*ALMA, *NATIVE)}
FORMATS = {
    "EAGER": Format.STATE_DICT,
    "BF16+EAGER": Format.STATE_DICT,
    "CHANNELS_LAST+EAGER": Format.STATE_DICT,
    "COMPILE_INDUCTOR_DEFAULT": Format.STATE_DICT,
    "OPTIMUM_QUANTO_WI8": Format.STATE_DICT,
    "TORCHAO_QUANT_INT8+COMPILE_INDUCTOR": Format.STATE_DICT,
    "FP16+COMPILE_OPENVINO": Format.STATE_DICT,
    "EXPORT+EAGER": Format.TORCH_EXPORT,
    "EXPORT+COMPILE_INDUCTOR_DEFAULT": Format.TORCH_EXPORT,
    "EXPORT+AI8WI8_STATIC_QUANTIZED": Format.TORCH_EXPORT,
    "COMPILE_OPENVINO": Format.TORCH_EXPORT,
    "ONNX_CPU": Format.ONNX,
    "ONNX+DYNAMO_EXPORT": Format.ONNX,
    "ONNX_CPU_INT8_STATIC": Format.ONNX,
    "OPENVINO": Format.OPENVINO,
    "OPENVINO_INT8": Format.OPENVINO,
    "JIT_TRACE": Format.TORCHSCRIPT,
    "FP16+TORCH_SCRIPT": Format.TORCHSCRIPT,
    "AOT_INDUCTOR_PACKAGE": Format.AOT_INDUCTOR,
    "EXECUTORCH_XNNPACK": Format.EXECUTORCH,
}
REASONS = {
    "COMPILE_ONNXRT": "take ONNX_CPU",
    "EXPORT+COMPILE_TVM": "take AOT_INDUCTOR_PACKAGE",
    "COMPILE_OPENXLA": "take AOT_INDUCTOR_PACKAGE",
    "EXPORT+AOT_INDUCTOR": "take AOT_INDUCTOR_PACKAGE",
    "TENSORRT": "one kind of GPU",
    "COMPILE_TENSORRT": "one kind of GPU",
    "NATIVE_CONVERT_AI8WI8_STATIC_QUANTIZED": "pickle only",
    "TORCHAO_AUTOQUANT": "timing",
    "BF16+COMPILE_OPENVINO": "take OPENVINO_BF16",
}


@pytest.mark.parametrize("name", BY_NAME)
def test_every_conversion_has_a_format_or_a_reason(name: str) -> None:
    found = export_format(BY_NAME[name])
    assert (found.format is None) == bool(found.reason)


def test_the_formats_are_those_of_what_runs() -> None:
    assert {name: export_format(BY_NAME[name]).format for name in FORMATS} == FORMATS


def test_the_reasons_name_what_to_take_instead() -> None:
    for name, part in REASONS.items():
        assert part in (export_format(BY_NAME[name]).reason or ""), name
    taken = {word for entry in BY_NAME.values() for word in (export_format(entry).reason or "").split() if "_" in word}
    names = {word.strip(",;.") for word in taken if word.isupper()}
    assert {name for name in names if export_format(BY_NAME[name]).format is None} == set()


def test_of_a_model_that_is_an_object_only_what_needs_no_code_is_exported() -> None:
    given = ModelSpec("mine", pickle_path="model.pkl")
    assert "as an object" in (export_format(BY_NAME["EAGER"], given).reason or "")
    assert export_format(BY_NAME["ONNX_CPU"], given).format is Format.ONNX
    assert export_format(BY_NAME["EAGER"], ModelSpec("mine", target="a.b")).format is Format.STATE_DICT


def test_a_conversion_of_another_package_says_so() -> None:
    entry = replace(BY_NAME["EAGER"], engine="registered")
    assert "another package" in (export_format(entry).reason or "")
