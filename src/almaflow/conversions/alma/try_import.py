"""Try to import Alma with the repairs that it needs here, in a process of its own, since Alma imports PyTorch."""

from __future__ import annotations

from time import perf_counter

from almaflow.records.child_entry import answer_once


def main(_question: None) -> tuple[float, tuple[str, ...]]:
    """Return the seconds that the import took, and the names of the repairs."""
    began = perf_counter()
    from almaflow.conversions.alma.repairs import apply_repairs

    repairs = apply_repairs(())
    import alma.conversions.select  # noqa: F401 - only the import is tried

    return perf_counter() - began, tuple(repairs)


if __name__ == "__main__":
    answer_once(main)
