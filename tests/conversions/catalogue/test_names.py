"""What users type becomes entries of the catalogue, or one clear line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from almaflow.conversions.catalogue.names import nearest, resolve
from almaflow.conversions.catalogue.tiers import everything, tier
from almaflow.errors import UsageError

if TYPE_CHECKING:
    from random import Random

NAMES = [entry.name for entry in everything()]
SPELLINGS = {spelling.casefold(): entry.name for entry in everything() for spelling in (entry.name, *entry.aliases)} | {
    str(entry.number): entry.name for entry in everything() if entry.number is not None
}


def _names(*requested: str | int) -> list[str]:
    return [entry.name for _, entry in resolve(requested)]


@given(st.sampled_from(sorted(SPELLINGS)), st.randoms(use_true_random=False))
def test_every_name_alias_and_number_in_any_case(spelling: str, random: Random) -> None:
    text = "".join(random.choice((letter.upper(), letter.lower())) for letter in spelling)
    ((asked, entry),) = resolve([text])
    assert asked == text
    assert entry.name == SPELLINGS[spelling]


@given(st.lists(st.sampled_from(NAMES)))
def test_order_is_kept_and_what_comes_twice_comes_once(requested: list[str]) -> None:
    assert _names(*requested) == list(dict.fromkeys(requested))


@given(st.text().filter(lambda text: text.strip().casefold() not in SPELLINGS), st.sampled_from(NAMES))
def test_any_unknown_string_is_one_line_of_usage_error(text: str, known: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve([known, text])
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert message.endswith("; all names: almaflow conversions")


@given(st.integers())
def test_numbers_are_those_of_alma_and_no_others(number: int) -> None:
    if 0 <= number < 94:
        assert _names(number) == _names(str(number)) == [everything()[number].name]
    else:
        with pytest.raises(UsageError, match="the numbers are 0 to 93"):
            resolve([number])


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("COMPILE_INDUCTOR", "COMPILE_INDUCTOR_DEFAULT"),
        ("FP16+COMPILE_INDUCTOR", "FP16+COMPILE_INDUCTOR_DEFAULT"),
        ("EXPORT+COMPILE_INDUCTOR", "EXPORT+COMPILE_INDUCTOR_DEFAULT"),
        ("bf16", "BF16+EAGER"),
        ("FP16", "FP16+EAGER"),
        ("FP16+CUDAGRAPHS", "FP16+COMPILE_CUDAGRAPHS"),
        ("OPTIMIM_QUANTO_AI8WI8", "OPTIMUM_QUANTO_AI8WI8"),
        ("OPTIMUM_QUANTO_Wf8E5M2+COMPILE_CUDAGRAPHS", "OPTIMIM_QUANTO_Wf8E5M2+COMPILE_CUDAGRAPHS"),
        (" onnx_cpu ", "ONNX_CPU"),
        ("openvino", "OPENVINO"),
    ],
)
def test_other_names_for_the_same_thing(alias: str, name: str) -> None:
    assert _names(alias) == [name]


def test_a_name_an_alias_and_a_number_of_one_entry_collapse_to_the_first() -> None:
    (found,) = resolve(["compile_inductor", 6, "COMPILE_INDUCTOR_DEFAULT"])
    assert found[0] == "compile_inductor"


def test_a_misspelling_is_answered_with_what_was_meant() -> None:
    with pytest.raises(UsageError) as caught:
        resolve(["COMPILE_INDUCTR"])
    assert str(caught.value).startswith(
        "conversions=[COMPILE_INDUCTR]: unknown conversion COMPILE_INDUCTR; nearest: COMPILE_INDUCTOR_DEFAULT, "
    )


def test_all_unknown_names_are_told_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        resolve(["EAGRE", "EAGER", "ONXX_CPU"])
    message = str(caught.value)
    assert "EAGRE (nearest: EAGER" in message
    assert "ONXX_CPU (nearest: ONNX_CPU" in message


@pytest.mark.parametrize("item", [None, True, 1.5])
def test_what_is_neither_name_nor_number_is_unknown(item: object) -> None:
    with pytest.raises(UsageError, match="unknown conversion"):
        resolve([item])  # type: ignore[list-item]


def test_a_single_string_is_one_name_and_not_its_letters() -> None:
    assert [entry.name for _, entry in resolve("EAGER")] == ["EAGER"]


@given(st.text())
def test_three_different_nearest_names(text: str) -> None:
    found = nearest(text)
    assert len(set(found)) == len(found) == 3
    assert set(found) <= set(NAMES)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_every_name_of_a_tier_resolves_to_itself(number: int, device: str) -> None:
    names = [entry.name for entry in tier(number, device)]
    assert _names(*names) == names
