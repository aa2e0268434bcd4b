"""Faults that other tests inject, and those that none does: parts of the table of ``docs/results/reliability.md``."""

from __future__ import annotations

ENDS = "tests/processes/test_worker_ends.py"
LOCK = "tests/machine/test_lock.py"
ELSEWHERE = (
    (
        "A worker aborts, hangs with or without Python's lock, ignores SIGTERM, raises `SystemExit` or exits",
        "its class is told; nothing of it runs on",
        f"{ENDS}::test_each_end_has_its_class",
    ),
    (
        "A worker or its helpers use more memory than `measure.memory_limit_mb`",
        "the worker and its helpers are ended; the conversion is `out_of_memory`",
        f"{ENDS}::test_a_worker_whose_helper_is_over_the_memory_limit_is_ended_with_it",
    ),
    (
        "A worker writes lines of the protocol, or its own `result.json`",
        "both are ignored",
        f"{ENDS}::test_a_result_that_is_not_ours_counts_as_none",
    ),
    (
        "A worker is busy in native code when its parent is killed",
        "it ends",
        f"{ENDS}::test_a_worker_ends_with_a_parent_that_is_killed",
    ),
    (
        "Each conversion of a job has another trouble",
        "each costs its own conversion only",
        "tests/jobs/test_isolation.py::test_each_trouble_costs_its_own_conversion_only",
    ),
    (
        "A server over PostgreSQL is killed in a sweep",
        "nothing is lost, nothing is there twice",
        "tests/jobs/test_lost_server.py::test_a_server_that_is_killed_costs_nothing",
    ),
    (
        "Four jobs begin at once on a store that is not there",
        "its tables are made once, and all results are written",
        "tests/tracking/test_replay.py::test_four_jobs_at_once_in_a_new_store",
    ),
    (
        "A process is killed while it makes the store",
        "no store is left half made",
        "tests/tracking/test_store.py::test_a_process_that_is_killed_while_it_makes_the_store_leaves_none_half_made",
    ),
    (
        "Two jobs measure on one machine with other homes and directories for temporary files",
        "one waits for the other",
        f"{LOCK}::test_it_is_one_lock_whatever_directories_for_temporary_files_and_homes_jobs_have",
    ),
    (
        "Any value stands in any place of a record",
        "no other job is stopped",
        "tests/jobs/test_sync.py::test_any_value_in_any_place_of_a_record_stops_no_other_job",
    ),
    (
        "`almaflow ui` is killed",
        "MLflow's server ends with it",
        "tests/tracking/test_ui_server.py::test_a_server_ends_with_all_that_it_started_when_we_are_gone",
    ),
    (
        "A model's secret is in what it says",
        "it is masked before anything is kept",
        "tests/jobs/test_private.py::test_what_a_model_said_is_masked_before_anything_is_kept",
    ),
    (
        "The umask lets everybody read",
        "a job and a sweep are for their user alone",
        "tests/jobs/test_private.py::test_a_job_and_a_sweep_are_for_their_user_alone_whatever_the_umask",
    ),
    (
        "The script of a job is run by somebody else",
        "it loads no pickle",
        "tests/jobs/test_private.py::test_the_script_of_a_model_in_hand_loads_no_pickle",
    ),
    (
        "A message has Markdown in it",
        "it is shown as text",
        "tests/report/test_markdown.py::test_a_message_cannot_break_the_table",
    ),
)
"""A fault, what happens then, and the test."""

NOT_TRIED = (
    "GPU workers and their memory",
    "MySQL, and homes on NFS or on other file systems without locks",
    "the kernel's end of a process where the whole machine has no memory left, beside a container's limit",
    "suspending a machine to disk or memory, beyond stopping the processes",
    "two machines that write to one store at the same moment",
    "a power cut that loses what the disk had confirmed",
)
