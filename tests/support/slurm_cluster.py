"""A real Slurm cluster: slurmctld and a slurmd for each node, on simulated machines with one directory in common."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.support.simulated_machines import Network, SimulatedMachine, can_simulate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

NEEDS = "needs Slurm, munge and simulated machines: apt-get install slurm-wlm munge iproute2, as root"
_TOOLS = ("slurmctld", "slurmd", "sbatch", "scontrol", "munged")
# No accounting and no cgroups: neither is there on a machine that has nothing but the packages.
_CONFIGURATION = """\
ClusterName=almaflow
SlurmctldHost={controller.name}({controller.address})
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={root}/munge.socket
CredType=cred/munge
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool-%n
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/%n.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
"""


def can_run_slurm() -> bool:
    """Whether a cluster can be made here."""
    return all(map(shutil.which, _TOOLS)) and can_simulate()


@dataclass
class SlurmCluster:
    """A controller and its nodes."""

    root: Path
    controller: SimulatedMachine
    nodes: Mapping[str, str]
    """Features, separated by commas, by the node's name."""
    environment: dict[str, str] = field(default_factory=dict)

    @classmethod
    @contextmanager
    def started(cls, root: Path, nodes: Mapping[str, str]) -> Iterator[SlurmCluster]:
        """Start the daemons, and end them.

        Args:
            root: A directory that all machines see.
            nodes: Features by the node's name.
        """
        own = root / "slurm"
        own.mkdir()
        with Network.laid() as network:
            controller = network.add("controller", shared=(root,))
            cluster = cls(own, controller, nodes, os.environ | {"SLURM_CONF": str(own / "slurm.conf")})
            machines = {name: network.add(name, shared=(root,)) for name in nodes}
            cluster._configure(machines)
            munged = cluster._munged()
            try:
                cluster._start(controller, "slurmctld", "-D")
                for name, machine in machines.items():
                    # slurmd of this version looks for a cgroup plugin whatever it is told; an empty place is enough.
                    script = f"mount -t tmpfs none /sys/fs/cgroup && exec slurmd -D -N {name}"
                    cluster._start(machine, "bash", "-c", script)
                cluster._until_idle()
                yield cluster
            finally:
                munged.send_signal(signal.SIGTERM)
                try:
                    munged.wait(30)
                except subprocess.TimeoutExpired:
                    munged.kill()
                    munged.wait()

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command on the controller's machine."""
        with self.start(*words, **environment) as process:
            out, err = process.communicate(timeout=300)
        assert process.returncode is not None
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def start(self, *words: str, **environment: str) -> subprocess.Popen[str]:
        """Start a command on the controller's machine."""
        return self.controller.start(
            words,
            env=self.environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def jobs(self) -> list[dict[str, str]]:
        """What Slurm knows of its jobs, by the names of its fields."""
        lines = self.run("scontrol", "--oneliner", "show", "job").stdout.splitlines()
        return [dict(word.split("=", 1) for word in line.split() if "=" in word) for line in lines if "JobId=" in line]

    def _configure(self, machines: Mapping[str, SimulatedMachine]) -> None:
        lines = [
            f"NodeName={name} NodeAddr={machine.address} CPUs={os.cpu_count()} RealMemory=4000 Feature={features}"
            for (name, machine), features in zip(machines.items(), self.nodes.values(), strict=True)
        ]
        lines.append(f"PartitionName=all Nodes={','.join(self.nodes)} Default=YES State=UP")
        text = _CONFIGURATION.format(controller=self.controller, root=self.root)
        (self.root / "slurm.conf").write_text(text + "\n".join(lines) + "\n", encoding="ascii")
        (self.root / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n", encoding="ascii")
        for name in ("state", *(f"spool-{name}" for name in self.nodes)):
            (self.root / name).mkdir()

    def _munged(self) -> subprocess.Popen[Any]:
        """Start what signs the daemons' messages; the socket is in the common directory, so one is enough."""
        key = self.root / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        files = [f"--{what}-file={self.root / f'munge.{what}'}" for what in ("pid", "log", "seed")]
        socket, ends_with_us = self.root / "munge.socket", ("setpriv", "--pdeathsig", "KILL")
        return subprocess.Popen(
            [*ends_with_us, "munged", "--foreground", "--force", f"--key-file={key}", f"--socket={socket}", *files],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def _start(self, machine: SimulatedMachine, *words: str) -> None:
        with (self.root / f"{machine.name}.out").open("w") as out:
            machine.start(words, env=self.environment, stdout=out, stderr=subprocess.STDOUT)

    def _until_idle(self) -> None:
        """Wait until all nodes take jobs."""
        deadline = time.monotonic() + 60
        while (states := self.run("sinfo", "-h", "-N", "-o", "%T").stdout.split()) != ["idle"] * len(self.nodes):
            told = "\n".join(path.read_text(errors="replace")[-500:] for path in self.root.glob("*.out"))
            assert time.monotonic() < deadline, f"the nodes are {states}\n{told}"
            time.sleep(0.3)
