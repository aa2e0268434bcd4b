"""What Hydra's launchers for clusters raise, in one line that says what to do."""

from __future__ import annotations

import re

from almaflow.errors import AlmaflowError, UsageError

_REFUSED = re.compile(r"^(?:sbatch|srun): (?:error: )?(?P<reason>.*)$", re.MULTILINE)
_LOST = re.compile(r"Job (?P<job>\d+(?:_\d+)?) .*?\(state: (?P<state>[^)]+)\)", re.DOTALL)


def explain_launcher(error: Exception) -> AlmaflowError | None:
    """Return what became of the jobs that submitit was given, in one line.

    Returns:
        None where the error is not one of submitit's.
    """
    # By name: submitit is imported where a launcher of it was asked for, and only there.
    kinds = {each.__name__ for each in type(error).__mro__ if each.__module__.partition(".")[0] == "submitit"}
    text = str(error)
    if "FailedJobError" in kinds:
        lines = _REFUSED.findall(text) or [" ".join(text.split())[-200:]]
        return UsageError(f"the cluster refused the jobs: {lines[0]}; see hydra.launcher.* in docs/slurm.md")
    if "UncompletedJobError" in kinds:
        found = _LOST.search(text)
        which = f"job {found['job']} of the cluster ({found['state']})" if found else "a job of the cluster"
        return AlmaflowError(
            f"{which} ended without a result: its process or machine was lost, or it ran out of time"
            " (hydra.launcher.timeout_min); when the other jobs have ended, the same command with resume=true measures"
            " what is missing"
        )
    return None
