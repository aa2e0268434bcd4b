"""Every conversion does what its name claims, by a witness of what ran: docs/adding-conversions.md lists them.

A step without a witness, or a conversion that neither runs here nor is known not to, fails.
"""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.claims import CLAIMS
from tests.support.claims_child import SLOW, run_claims_of_compilers, run_claims_of_eager
from tests.support.conversion_child import in_child
from tests.support.markdown_documents import table

from almaflow.conversions.catalogue import tiers as catalogue
from almaflow.conversions.catalogue.plan import plan

EVERY = [entry.name for entry in catalogue.everything()]
PLANNED = {each.name: each for each in plan(EVERY, 1, "cpu", allow_device_override=True)}
HERE = [name for name, planned in PLANNED.items() if planned.unavailable is None]


def is_quick(name: str) -> bool:
    return not SLOW.intersection(PLANNED[name].steps)


@pytest.mark.parametrize("name", EVERY)
def test_each_step_of_a_name_has_a_witness(name: str) -> None:
    assert [step for step in PLANNED[name].steps if step not in CLAIMS] == []


def test_the_document_lists_each_step_beside_its_witness() -> None:
    rows = table("docs/adding-conversions.md", "claim")
    assert {step for _, steps, _ in rows for step in steps.split(", ")} == set(CLAIMS)
    assert all(claim and witness for claim, _, witness in rows)


@pytest.fixture(scope="module")
def eager(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return in_child(run_claims_of_eager, tmp_path_factory.mktemp("eager"))


@pytest.fixture(scope="module")
def compilers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return in_child(run_claims_of_compilers, tmp_path_factory.mktemp("compilers"))


@pytest.mark.parametrize("name", [name for name in HERE if is_quick(name)])
def test_what_pytorch_runs_is_what_the_name_says(eager: dict[str, Any], name: str) -> None:
    assert eager[name] == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in HERE if not is_quick(name)])
def test_what_a_runtime_runs_is_what_the_name_says(compilers: dict[str, Any], name: str) -> None:
    assert compilers[name] == {}
