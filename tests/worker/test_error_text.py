"""The line that matters is found in chains and texts as the converters make them."""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING

import pytest
from tests.support.example_jobs import planned

from almaflow.records import FailureKind
from almaflow.worker.error_text import TOO_LARGE_ADVICE
from almaflow.worker.failures import MESSAGE_LIMIT, WrongOutputError, classify, headline, versions_of

if TYPE_CHECKING:
    from collections.abc import Callable


def made(name: str, text: str = "", cause: BaseException | None = None) -> BaseException:
    """Return an exception of a class of this name, raised from a cause."""
    error: BaseException = type(name, (RuntimeError,), {})(text)
    error.__cause__ = cause
    return error


STEP = "Failed to export the model with torch.export. \x1b[96mThis is step 1/3\x1b[0m of exporting\n- Debug `x`\n"
OPENVINO = "Check 'false' failed at src/a.cpp:151:\nFrontEnd API failed with OpConversionFailure:\nModel wasn't fully "
DYNAMO = """Data-dependent branching
  Explanation: Detected data-dependent branching.
  Developer debug context: attempted to jump
from user code:
   File "/somewhere/model.py", line 25, in forward
    if x.sum()>0:
"""
SERIALIZE = "Failed to serialize proto"
TRACED = (
    "The following operation failed in the TorchScript interpreter.\nTraceback of TorchScript (most recent call last):"
)


@pytest.mark.parametrize(
    ("error", "message", "kind"),
    [
        (made("TorchExportError", STEP, ValueError("a model")), "ValueError: a model", FailureKind.ERROR),
        (
            made("ConversionError", STEP, made("ConversionError", "node", made("DispatchError", "No ONNX function"))),
            "DispatchError: No ONNX function",
            FailureKind.UNSUPPORTED,
        ),
        (
            made("TorchExportError", STEP + "## Exception summary\n\n<class 'a.b.DeepError'>: aten::x is unknown\n"),
            "TorchExportError: DeepError: aten::x is unknown",
            FailureKind.ERROR,
        ),
        (made("TorchExportError", STEP, MemoryError()), "MemoryError", FailureKind.OUT_OF_MEMORY),
        (
            RuntimeError(OPENVINO + "converted.\nSummary:\n-- No conversion rule found for operations: aten::x"),
            "RuntimeError: No conversion rule found for operations: aten::x",
            FailureKind.UNSUPPORTED,
        ),
        (
            RuntimeError("Exception from src/a.cpp:224:\nException from src/b.cpp:8:\n[CPU] no primitive\n\n"),
            "RuntimeError: [CPU] no primitive",
            FailureKind.ERROR,
        ),
        (
            RuntimeError(
                "Not fully converted. Detailed log:\n-- Mark with a message:\nNo lists of lists.\nSummary:\nx"
            ),
            "RuntimeError: Not fully converted. Detailed log: -- Mark with a message: No lists of lists.",
            FailureKind.ERROR,
        ),
        (
            RuntimeError("Tracer cannot infer type of Out(y=tensor([[0.1,\n  0.2]]), c=Cache())\n:Only tensors are"),
            "RuntimeError: Only tensors are",
            FailureKind.ERROR,
        ),
        (
            made("TracingCheckError", "Tracing failed sanity checks!\nERROR: Graphs differed across invocations!\n\tx"),
            "TracingCheckError: ERROR: Graphs differed across invocations!",
            FailureKind.ERROR,
        ),
        (RuntimeError("Check 'x' failed at src/a.cpp:2:"), "RuntimeError: Check 'x' failed at src/a.cpp:2:", "error"),
        (
            made("Unsupported", DYNAMO),
            "Unsupported: Data-dependent branching (attempted to jump) (model.py:25: if x.sum()>0:)",
            FailureKind.UNSUPPORTED,
        ),
        (
            made("BackendCompilerFailed", "backend='x' raised:\nNotImplementedError: no y\n\nSet V=1"),
            "BackendCompilerFailed: backend='x' raised: NotImplementedError: no y",
            FailureKind.ERROR,
        ),
        (
            made(
                "Fail",
                "[ONNXRuntimeError] : 1 : FAIL : /a/b.cc:360 void* A::B(size_t) Failed to allocate memory",
            ),
            "Fail: [ONNXRuntimeError] : 1 : FAIL : Failed to allocate memory",
            FailureKind.OUT_OF_MEMORY,
        ),
        (
            RuntimeError("set_inputs() for method 'forward' failed with error 0x10"),
            "RuntimeError: set_inputs() for method 'forward' failed with error 0x10 (NotSupported)",
            FailureKind.UNSUPPORTED,
        ),
        (
            RuntimeError(f'{TRACED}\n  File "code/a.py", line 3, in forward\nRuntimeError: sizes differ\n'),
            "RuntimeError: sizes differ (a.py:3)",
            FailureKind.ERROR,
        ),
        (
            made(
                "CppCompileError",
                "C++ compile error\nCommand:\ng++ x\n\nOutput:\n/a/x.cpp:3:10: fatal error: no y.h",
            ),
            "CppCompileError: fatal error: no y.h",
            FailureKind.ERROR,
        ),
        (
            made("EncodeError", SERIALIZE),
            f"EncodeError: Failed to serialize proto ({TOO_LARGE_ADVICE})",
            "error",
        ),
        (
            made("ConvertError", "it broke", NotImplementedError("aten::x has no kernel")),
            "ConvertError: it broke (from NotImplementedError: aten::x has no kernel)",
            FailureKind.UNSUPPORTED,
        ),
        (made("ConvertError", "no x", ImportError("no x")), "ConvertError: no x", FailureKind.MISSING_DEPENDENCY),
    ],
    ids=str,
)
def test_the_line_and_the_class(error: BaseException, message: str, kind: FailureKind | str) -> None:
    failure = classify(error, "convert")
    assert (failure.message, failure.kind) == (message, kind)


def test_what_was_tried_before_is_no_cause() -> None:
    error = ValueError("the second attempt")
    error.__context__ = ImportError("the first attempt")
    failure = classify(error, "convert")
    assert (failure.message, failure.kind) == ("ValueError: the second attempt", FailureKind.ERROR)


def test_a_circle_of_causes_ends() -> None:
    error = RuntimeError("one")
    error.__cause__ = made("OtherError", "two", error)
    assert headline(error) == "RuntimeError: one (from OtherError: two)"


def test_a_wrong_output_through_onnx_names_the_versions() -> None:
    conversion = planned("ONNX_CPU")
    versions = versions_of(conversion)
    assert [each.split()[0] for each in versions.split(", ")] == ["torch", "onnxscript", "onnxruntime"]
    message = classify(WrongOutputError("x" * 1000), "check", conversion).message
    assert message.endswith(f"... ({versions})")
    assert len(message) == MESSAGE_LIMIT
    assert classify(ValueError("no"), "check", conversion).message == "ValueError: no"
    assert classify(WrongOutputError("no"), "check", planned("EAGER")).message == "WrongOutputError: no"


def failure_of(call: Callable[[], object]) -> tuple[str, FailureKind]:
    with pytest.raises(Exception) as caught, contextlib.redirect_stdout(io.StringIO()):  # noqa: PT011 - any library's
        call()
    failure = classify(caught.value, "convert")
    return failure.message, failure.kind


@pytest.mark.slow
def test_real_errors_of_the_converters(tmp_path: object) -> None:
    import openvino
    import torch

    class ByValues(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + 1 if x.sum() > 0 else x - 1

    class Bessel(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            answer: torch.Tensor = torch.special.i1(x)
            return answer

    inputs = (torch.ones(2, 2),)

    def refuses(_graph: object, _inputs: object) -> None:
        message = "no memory"
        raise MemoryError(message)

    file = str(tmp_path) + "/model.onnx"
    message, kind = failure_of(lambda: torch.onnx.export(ByValues(), inputs, file, dynamo=True))
    assert kind is FailureKind.UNSUPPORTED
    assert message.startswith("GuardOnDataDependentSymNode: Could not guard")
    assert "test_error_text.py" in message
    message, kind = failure_of(lambda: torch.onnx.export(Bessel(), inputs, file, dynamo=True))
    assert kind is FailureKind.UNSUPPORTED
    assert message.startswith("DispatchError: No ONNX function found for")
    assert "i1" in message
    message, kind = failure_of(lambda: torch.compile(ByValues(), fullgraph=True)(*inputs))
    assert kind is FailureKind.UNSUPPORTED
    assert "branching" in message
    assert "test_error_text.py" in message
    message, kind = failure_of(lambda: torch.compile(Bessel(), backend=refuses)(*inputs))
    assert kind is FailureKind.OUT_OF_MEMORY
    assert "MemoryError: no memory" in message
    message, kind = failure_of(lambda: openvino.convert_model(torch.export.export(Bessel(), inputs)))
    assert kind is FailureKind.UNSUPPORTED
    assert message == "OpConversionFailure: No conversion rule found for operations: aten.special_i1.default"
    traced = openvino.convert_model(torch.nn.Linear(2, 2), example_input=inputs)
    message, _ = failure_of(lambda: traced.reshape([1, 2, 3]))
    assert message.startswith("RuntimeError: Incompatible MatMul matrix dimension")


@pytest.mark.slow
def test_real_errors_of_the_runtimes() -> None:
    import onnxruntime
    from onnx import TensorProto, helper

    def session(node: str, domain: str, kind: int) -> object:
        value = [helper.make_tensor_value_info(name, kind, [4]) for name in "xy"]
        graph = helper.make_graph([helper.make_node(node, ["x"], ["y"], domain=domain)], "g", value[:1], value[1:])
        operators = [helper.make_opsetid("", 20), helper.make_opsetid("pkg", 1)]
        model = helper.make_model(graph, opset_imports=operators, ir_version=10)
        return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

    message, kind = failure_of(lambda: session("Thing", "pkg", TensorProto.FLOAT))
    assert kind is FailureKind.UNSUPPORTED
    assert "pkg:Thing(-1) is not a registered function/op" in message
    message, kind = failure_of(lambda: session("Sin", "", TensorProto.BFLOAT16))
    assert kind is FailureKind.UNSUPPORTED
    assert "'tensor(bfloat16)'" in message
