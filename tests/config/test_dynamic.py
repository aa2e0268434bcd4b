"""Dynamic dimensions and sizes as people write them: what they mean, and the line that a wrong one is answered with."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from almaflow.config.composition import compose
from almaflow.config.dynamic import dynamic_dims, further_sizes
from almaflow.config.resolve import dynamic_fields
from almaflow.config.schema import InputConfig, ModelConfig
from almaflow.config.validation import plain, validate_stored
from almaflow.errors import UsageError
from almaflow.records import Axis, BatchSearch, DynamicDim, InputSpec, ModelSpec, from_dict, size_label, to_dict

TEXT = [InputConfig([16], name="input_ids", batch_dim=0), InputConfig([16], name="mask", batch_dim=0)]
BERT = [
    "model=custom",
    "model._target_=mine.Bert",
    "model.inputs=[{shape:[16],name:input_ids},{shape:[16],name:mask}]",
]
SEQUENCE = "{input_ids:{1:sequence},mask:{1:sequence}}"


def answer(*overrides: str) -> str:
    """What the user reads about these overrides; empty where nothing is wrong."""
    try:
        compose([*BERT, *overrides])
    except UsageError as error:
        return str(error)
    return ""


def test_the_batch_is_that_of_every_input_and_other_names_say_where_they_are() -> None:
    job = compose(
        [
            *BERT,
            "batch_size=4",
            "model.dynamic={batch:[1,32],sequence:[8,512]}",
            f"model.dynamic_axes={SEQUENCE}",
            "model.sizes=[1,8,{batch:2,sequence:64}]",
        ]
    )
    batch, sequence = dynamic_fields(job)["dynamic"]
    assert batch == DynamicDim("batch", 1, 32)
    assert sequence == DynamicDim("sequence", 8, 512, (Axis("input_ids", 1), Axis("mask", 1)))
    assert dynamic_fields(job)["sizes"] == ({"batch": 1}, {"batch": 8}, {"batch": 2, "sequence": 64})
    assert dynamic_fields(validate_stored(plain(job))) == dynamic_fields(job)


@pytest.mark.parametrize(("given", "dims"), [
    ("batch", [DynamicDim("batch")]),
    (["batch"], [DynamicDim("batch")]),
    ({"batch": None}, [DynamicDim("batch")]),
    ({"batch": [2, None]}, [DynamicDim("batch", 2)]),
    ([], []),
    (None, []),
])  # fmt: skip
def test_a_name_without_a_range_has_any_size(given: Any, dims: list[DynamicDim]) -> None:
    assert list(dynamic_dims(ModelConfig(dynamic=given), 2)) == dims


@pytest.mark.parametrize(("overrides", "line"), [
    ("model.dynamic=3", "model.dynamic=3: must be names, such as [batch], or names with ranges, {batch:[1,32]}"),
    ("model.dynamic=[batch,batch]", "model.dynamic: batch is there twice"),
    ("model.dynamic=['a b']", "model.dynamic: 'a b' is no name, which has letters and digits and begins with a letter"),
    (
        "model.dynamic={batch:[8,2]}",
        "model.dynamic.batch=[8, 2]: must be the smallest and the largest size, such as [1,32] or [1,null]",
    ),
    ("model.dynamic={batch:[4,8]}", "batch_size=1: is outside of model.dynamic, batch 4-8"),
    (
        "model.dynamic=[sequence]",
        "model.dynamic: nothing says where sequence is; give model.dynamic_axes, such as {input_ids:{1:sequence}}",
    ),
    (
        f"model.dynamic=[batch] model.dynamic_axes={SEQUENCE}",
        "model.dynamic_axes.input_ids.1=sequence: model.dynamic has no such name; it has batch",
    ),
    (
        "model.dynamic=[s] model.dynamic_axes={inputs:{1:s}}",
        "model.dynamic_axes.inputs: none of model.inputs has that name; they are: input_ids",
    ),
    (
        "model.dynamic=[s] model.dynamic_axes={mask:{2:s}}",
        "model.dynamic_axes.mask.2=s: the place of a dimension is a whole number, below 2",
    ),
    (
        "model.dynamic=[s] model.dynamic_axes={mask:s}",
        "model.dynamic_axes.mask=s: must give names by the place of the dimension, such as {0:batch,1:sequence}",
    ),
    ("model.sizes=[1,2]", "model.sizes=[1, 2]: all sizes are fixed; add model.dynamic=[batch]"),
    ("model.dynamic=[batch] model.sizes=[0]", "model.sizes: batch=0 must be a whole number, 1 or more"),
    ("model.dynamic=[batch] model.sizes=[2,2]", "model.sizes: batch 2 is there twice"),
    (
        "model.dynamic=[batch] model.sizes=8",
        "model.sizes=8: must be a list, such as [1,2,4,8] or [{batch:8,sequence:64}], or search for a batch size",
    ),
    ("model.sizes=search", "model.sizes=search: all sizes are fixed; add model.dynamic=[batch]"),
    (
        f"model.dynamic=[sequence] model.dynamic_axes={SEQUENCE} model.sizes=search",
        "model.sizes=search: looks for a batch size; add model.dynamic=[batch]",
    ),
    ("model.dynamic={batch:[1,4]} model.sizes=[8]", "model.sizes: batch=8 is outside of model.dynamic, batch 1-4"),
    (
        "model.dynamic=[batch] model.sizes=[{sequence:8}]",
        "model.sizes={'sequence': 8}: sequence is not dynamic; model.dynamic has batch",
    ),
    ("model.dynamic=[batch] model.sizes=[{}]", "model.sizes: {} names no dimension; give sizes such as [1,2,4,8]"),
])  # fmt: skip
def test_what_is_wrong_is_told_in_one_line(overrides: str, line: str) -> None:
    assert (
        answer(*overrides.split(" model.")[:1], *(f"model.{each}" for each in overrides.split(" model.")[1:])) == line
    )


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 40) | st.sampled_from(["batch", "sequence", "1", "", "a b"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["batch", "sequence", "x"]), inner),
    max_leaves=8,
)
AXES = st.dictionaries(
    st.sampled_from(["input_ids", "mask", "1", "x"]),
    st.dictionaries(st.integers(-1, 3) | st.sampled_from(["1", "x"]), ANYTHING, max_size=2) | ANYTHING,
    max_size=2,
)


@given(ANYTHING, AXES, ANYTHING, st.integers(1, 8))
def test_whatever_is_given_is_either_refused_in_one_line_or_holds_what_it_says(
    dynamic: Any, axes: Any, sizes: Any, batch_size: int
) -> None:
    model = ModelConfig(dynamic=dynamic, dynamic_axes=axes, sizes=sizes, inputs=TEXT)
    dims: tuple[DynamicDim, ...] = ()
    further: tuple[dict[str, int], ...] = ()
    line = ""
    try:
        dims = dynamic_dims(model, batch_size)
        further = further_sizes(model, dims)
    except UsageError as error:
        line = str(error)
    if line:
        assert line.startswith(("model.", "batch_size="))
        assert "\n" not in line
        return
    by_name = {dim.name: dim for dim in dims}
    assert len(by_name) == len(dims)
    assert all(by_name[name].has(value) for size in further for name, value in size.items())
    assert all(axis.dim < 2 for dim in dims for axis in dim.axes)
    spec = ModelSpec("x", inputs=(InputSpec((16,)),), dynamic=dims, sizes=further)
    assert from_dict(ModelSpec, to_dict(spec)) == spec


@pytest.mark.parametrize(("dynamic", "sizes", "search", "further"), [
    ("[batch]", "search", BatchSearch(1, 1024, {"latency/p99": 20.0}), ()),
    ("{batch:[2,64]}", "[4,search]", BatchSearch(2, 64, {"latency/p99": 20.0}), ({"batch": 4},)),
    ("{batch:[2048,null]}", "[search]", BatchSearch(2048, 2048, {"latency/p99": 20.0}), ()),
    ("[batch]", "[4]", None, ({"batch": 4},)),
])  # fmt: skip
def test_a_search_stays_within_the_range_and_keeps_to_limits_of_the_latency(
    dynamic: str, sizes: str, search: BatchSearch | None, further: tuple[dict[str, int], ...]
) -> None:
    batch_size = 2048 if "2048" in dynamic else 2
    limits = ["choose.max.latency/p99=20.0", "choose.max.memory/model_mb=30"]
    job = compose([*BERT, f"batch_size={batch_size}", f"model.dynamic={dynamic}", f"model.sizes={sizes}", *limits])
    fields = dynamic_fields(job)
    assert (fields["search"], fields["sizes"]) == (search, further)
    assert dynamic_fields(validate_stored(plain(job))) == fields
    spec = ModelSpec("x", dynamic=fields["dynamic"], search=search)
    assert from_dict(ModelSpec, to_dict(spec)) == spec


def test_a_size_is_a_part_of_a_metrics_name() -> None:
    assert size_label({"batch": 8}) == "8"
    assert size_label({"batch": 8, "sequence": 64}) == "batch-8_sequence-64"
    assert size_label({"sequence": 64}) == "sequence-64"
