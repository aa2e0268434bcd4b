"""Machines that are network namespaces: each has its own processes, ``/tmp``, host name and address.

They hang on a bridge that is in a namespace too, so no traffic leaves them. Power off is SIGKILL of a machine's first
process, with which the system ends all its others; a pulled cable is its link set down.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NEEDS = "needs root, iproute2's ip, and util-linux's unshare, nsenter and setpriv: apt-get install iproute2"
LINK = "eth0"
_TOOLS = ("ip", "unshare", "nsenter", "setpriv", "mount", "bash")
_PREPARE = """
set -e
mount -t tmpfs tmpfs "$SCRATCH"
for kept in $KEPT; do
    mkdir -p "$SCRATCH/${kept#/tmp/}"
    mount --rbind "$kept" "$SCRATCH/${kept#/tmp/}"
done
mount --bind "$DISK" /mnt
mount --rbind "$SCRATCH" /tmp
mount -t tmpfs tmpfs /dev/shm
chmod 1777 /tmp /dev/shm
hostname "$NAME"
echo ready
sleep infinity &
wait
"""
"""What a machine's first process does: bash, since it waits for the processes that lost their parents."""


def can_simulate() -> bool:
    """Whether machines can be simulated here: namespaces may be made, and the tools are there."""
    if os.geteuid() != 0 or not all(map(shutil.which, _TOOLS)):
        return False
    probe = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@dataclass
class SimulatedMachine:
    """One machine on the network."""

    name: str
    namespace: str
    address: str
    cpus: str | None
    """Processors that it has, as taskset names them; None: all."""
    scratch: Path
    disk: Path
    """What is under ``/mnt`` on the machine: it stays where the power goes."""
    kept: tuple[Path, ...]
    """Directories below ``/tmp`` that it sees too: the code under test."""
    first: subprocess.Popen[str] | None = None
    started: list[subprocess.Popen[Any]] = field(default_factory=list)

    @property
    def pid(self) -> int:
        """The machine's first process, as this machine numbers it."""
        assert self.first is not None, f"{self.name} is off"
        children = Path(f"/proc/{self.first.pid}/task/{self.first.pid}/children").read_text(encoding="ascii")
        return int(children.split()[0])

    def power_on(self) -> None:
        """Start the machine with an empty ``/tmp``."""
        bound = ["taskset", "--cpu-list", self.cpus] if self.cpus else []
        # With the tests' own process its machines end too, however it ends.
        bound += ["setpriv", "--pdeathsig", "KILL"]
        command = ["ip", "netns", "exec", self.namespace, *bound, "unshare", "--mount", "--uts", "--pid", "--fork"]
        self.first = subprocess.Popen(
            [*command, "--kill-child", "--mount-proc", "bash", "-c", _PREPARE],
            env=os.environ
            | {"SCRATCH": str(self.scratch), "DISK": str(self.disk), "NAME": self.name}
            | {"KEPT": " ".join(map(str, self.kept))},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # unshare warns of a signal mask, and goes on
            text=True,
            start_new_session=True,
        )
        assert self.first.stdout
        assert self.first.stdout.readline() == "ready\n"

    def power_off(self) -> None:
        """End every process of the machine at once; its ``/tmp`` is lost."""
        if self.first is None:
            return
        with suppress(ProcessLookupError, IndexError, FileNotFoundError):
            os.kill(self.pid, signal.SIGKILL)
        self.first.wait()
        assert self.first.stdout
        self.first.stdout.close()
        self.first = None
        for process in self.started:
            process.wait()
        self.started.clear()

    def pull_cable(self) -> None:
        """Take the machine off the network."""
        _ip("-n", self.namespace, "link", "set", LINK, "down")

    def plug_in(self) -> None:
        """Put the machine on the network again."""
        _ip("-n", self.namespace, "link", "set", LINK, "up")

    def start(self, command: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Start a command on the machine, with the options of Popen."""
        bound = ["taskset", "--cpu-list", self.cpus] if self.cpus else []
        inside = ["nsenter", "--target", str(self.pid), "--mount", "--uts", "--pid", "--net", "--wdns=/", *bound]
        options = {"stdin": subprocess.DEVNULL, "start_new_session": True} | options
        process = subprocess.Popen([*inside, *command], **options)
        self.started.append(process)
        return process

    def run(self, command: Sequence[str], *, timeout: float = 120, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command on the machine to its end; what it printed is kept together."""
        process = self.start(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
        try:
            output, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            output += f"\n(killed after {timeout:g} s)\n"
        self.started.remove(process)
        return subprocess.CompletedProcess(list(command), process.returncode, output)


@dataclass
class Network:
    """Machines on one bridge."""

    prefix: str
    scratch: Path
    machines: list[SimulatedMachine] = field(default_factory=list)

    @property
    def bridge(self) -> str:
        """The namespace of the bridge."""
        return f"{self.prefix}-net"

    @classmethod
    @contextmanager
    def laid(cls) -> Iterator[Self]:
        """Lay a network, and take it away with all machines on it."""
        with tempfile.TemporaryDirectory(prefix="almaflow-machines-") as scratch:
            network = cls(f"almaflow-{os.getpid()}", Path(scratch))
            _ip("netns", "add", network.bridge)
            try:
                _ip("-n", network.bridge, "link", "add", "bridge", "type", "bridge")
                _ip("-n", network.bridge, "link", "set", "bridge", "up")
                yield network
            finally:
                for machine in network.machines:
                    machine.power_off()
                    _ip("netns", "delete", machine.namespace)
                _ip("netns", "delete", network.bridge)

    def add(self, name: str, *, cpus: str | None = None, shared: tuple[Path, ...] = ()) -> SimulatedMachine:
        """Add a machine and switch it on; it sees what is ``shared`` as this machine does."""
        number = len(self.machines) + 1
        scratch, disk = self.scratch / name, self.scratch / f"{name}-disk"
        scratch.mkdir()
        disk.mkdir()
        namespace = f"{self.prefix}-{name}"
        machine = SimulatedMachine(
            name, namespace, f"10.77.0.{number}", cpus, scratch, disk, (*_kept_directories(), *shared)
        )
        _ip("netns", "add", machine.namespace)
        self.machines.append(machine)
        peer = f"port{number}"
        _ip("-n", self.bridge, "link", "add", peer, "type", "veth", "peer", "name", LINK, "netns", machine.namespace)
        _ip("-n", self.bridge, "link", "set", peer, "master", "bridge", "up")
        _ip("-n", machine.namespace, "address", "add", f"{machine.address}/24", "dev", LINK)
        _ip("-n", machine.namespace, "link", "set", "lo", "up")
        _ip("-n", machine.namespace, "link", "set", LINK, "up")
        machine.power_on()
        return machine


def _kept_directories() -> tuple[Path, ...]:
    """Directories below ``/tmp`` in which Python finds modules: the checkout and the environment may be there."""
    places = [*sys.path, sys.prefix, str(Path(__file__).parents[2])]
    wanted = {Path(path).resolve() for path in places if path}
    below = [path for path in wanted if path.is_dir() and path.is_relative_to("/tmp")]  # noqa: S108 - what it hides
    return tuple(path for path in below if not any(other in path.parents for other in below))
