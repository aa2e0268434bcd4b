"""The model changes between two commands, without a change of its name or of its number of parameters."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from tests.faults.inject import Fault
from tests.faults.scenario import ended_with, fired, resumed, scenario, synced

if TYPE_CHECKING:
    from tests.faults.place import Place


@scenario(
    fault="the model's code is edited (other function, twelve times slower) and the command runs with `resume=true`",
    expected="the edited model is measured; nothing that was measured of the other one is shown or lost",
    short=("",),
)
def the_model_is_edited(place: Place) -> None:
    ended_with(place.run("output=out.json"), 0)
    place.edit(2)
    resumed(place)
    synced(place)


@scenario(
    fault="the model is edited after the job was killed, while results of the older one wait on disk",
    expected="results of both are in the store, and the second job shows only its own",
)
def the_model_is_edited_after_a_kill(place: Place) -> None:
    fired(ended_with(place.run(faults=(Fault("signal", "before conversion logged", 2),)), -signal.SIGKILL))
    place.edit(2)
    resumed(place)
    synced(place)


@scenario(
    fault="the model is edited and then put back",
    expected="`resume=true` takes the first figures again, or measures; it never shows the other version's",
)
def the_model_is_put_back(place: Place) -> None:
    for version in (1, 2, 1):
        place.edit(version)
        resumed(place)
    synced(place)
