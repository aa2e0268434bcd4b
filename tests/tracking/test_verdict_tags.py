"""The tags that tell the Pareto front and the choice: of the job's run, and of the conversions that are meant."""

from __future__ import annotations

from dataclasses import replace

from tests.support.example_jobs import changed, job, ok

from almaflow.analysis import analyse
from almaflow.records import Choosing
from almaflow.tracking.schema import marks, verdict_tags

MADE = job(
    *(changed(ok(name, ms), model_mb=mb) for name, ms, mb in (("A", 5.0, 9.0), ("B", 7.0, 3.0), ("C", 8.0, 9.0)))
)


def test_the_front_is_told_of_every_job_and_the_choice_where_there_were_limits() -> None:
    assert verdict_tags(analyse(MADE)) == {"almaflow.pareto": "A, B"}
    light = analyse(replace(MADE, choose=Choosing(max={"memory/model_mb": 5})))
    assert verdict_tags(light) == {"almaflow.pareto": "A, B", "almaflow.chosen": "B"}
    assert [marks(light, name) for name in "ABC"] == [
        {"almaflow.pareto": "true"},
        {"almaflow.pareto": "true", "almaflow.chosen": "true"},
        {},
    ]
    nothing = analyse(replace(MADE, choose=Choosing(max={"memory/model_mb": 1})))
    assert verdict_tags(nothing)["almaflow.chosen"] == "none"
    assert verdict_tags(analyse(job(ok()))) == {}
