"""Machines that are network namespaces: each has its own processes, ``/tmp``, host name and address.

They hang on a bridge that is in a namespace too, so no traffic leaves them. No namespace has a name: each ends with its
processes, and those with the tests' own, however it ends. Power off is SIGKILL of a machine's first process, with which
the system ends all its others; a pulled cable is its link set down.
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

from tests.support.namespaces import ENDS_WITHIN_S, STARTS_WITHIN_S, call_ip, child, end, first_process

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


_BRIDGE = """
set -e
ip link add bridge type bridge
ip link set bridge up
echo ready
sleep infinity
"""


def can_simulate() -> bool:
    """Whether machines can be simulated here: namespaces may be made, and the tools are there."""
    if os.geteuid() != 0 or not all(map(shutil.which, _TOOLS)):
        return False
    links = "ip link add bridge0 type bridge && ip link add port1 type veth peer name port2"
    script = f"{links} && mount -t tmpfs none /mnt"
    probe = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "bash", "-c", script]
    try:
        return subprocess.run(probe, capture_output=True, check=False, timeout=STARTS_WITHIN_S).returncode == 0
    except subprocess.TimeoutExpired:
        return False


@dataclass
class SimulatedMachine:
    """One machine on the network."""

    name: str
    network: Network
    number: int
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
        return child(self.first)

    @property
    def address(self) -> str:
        """The machine's address on the network."""
        return f"10.77.0.{self.number}"

    def power_on(self) -> None:
        """Start the machine with an empty ``/tmp``, on the network."""
        places = {"SCRATCH": str(self.scratch), "DISK": str(self.disk), "KEPT": " ".join(map(str, self.kept))}
        self.first = first_process(["--net", "--mount", "--uts"], _PREPARE, places | {"NAME": self.name})
        port = f"port{self.number}"
        # A cable ends with one of its ends; the system may take a moment for that.
        with suppress(AssertionError):
            call_ip(self.network.pid, "link", "delete", port)
        call_ip(self.network.pid, *f"link add {port} type veth peer name {LINK} netns {self.pid}".split())
        call_ip(self.network.pid, "link", "set", port, "master", "bridge", "up")
        # The same card each time: others remember it.
        call_ip(self.pid, "link", "set", LINK, "address", f"02:00:00:00:00:{self.number:02x}")
        call_ip(self.pid, "address", "add", f"{self.address}/24", "dev", LINK)
        for link in ("lo", LINK):
            call_ip(self.pid, "link", "set", link, "up")

    def power_off(self) -> None:
        """End every process of the machine at once; its ``/tmp`` is lost."""
        if self.first is None:
            return
        end(self.first)
        self.first = None
        for process in self.started:
            process.wait(ENDS_WITHIN_S)
        self.started.clear()

    def pull_cable(self) -> None:
        """Take the machine off the network."""
        call_ip(self.pid, "link", "set", LINK, "down")

    def plug_in(self) -> None:
        """Put the machine on the network again."""
        call_ip(self.pid, "link", "set", LINK, "up")

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
            output, _ = process.communicate(timeout=ENDS_WITHIN_S)
            output += f"\n(killed after {timeout:g} s)\n"
        self.started.remove(process)
        return subprocess.CompletedProcess(list(command), process.returncode, output)


@dataclass
class Network:
    """Machines on one bridge."""

    scratch: Path
    first: subprocess.Popen[str]
    machines: list[SimulatedMachine] = field(default_factory=list)

    @property
    def pid(self) -> int:
        """A process on the bridge's network."""
        return child(self.first)

    @classmethod
    @contextmanager
    def laid(cls) -> Iterator[Self]:
        """Lay a network, and take it away with all machines on it."""
        with tempfile.TemporaryDirectory(prefix="almaflow-machines-") as scratch:
            network = cls(Path(scratch), first_process(["--net"], _BRIDGE, {}))
            try:
                yield network
            finally:
                for machine in network.machines:
                    machine.power_off()
                end(network.first)

    def add(self, name: str, *, cpus: str | None = None, shared: tuple[Path, ...] = ()) -> SimulatedMachine:
        """Add a machine and switch it on; it sees what is ``shared`` as this machine does."""
        number = len(self.machines) + 1
        scratch, disk = self.scratch / name, self.scratch / f"{name}-disk"
        scratch.mkdir()
        disk.mkdir()
        machine = SimulatedMachine(name, self, number, cpus, scratch, disk, (*_kept_directories(), *shared))
        self.machines.append(machine)
        machine.power_on()
        return machine


def _kept_directories() -> tuple[Path, ...]:
    """Directories below ``/tmp`` in which Python finds modules: the checkout and the environment may be there."""
    places = [*sys.path, sys.prefix, str(Path(__file__).parents[2])]
    wanted = {Path(path).resolve() for path in places if path}
    below = [path for path in wanted if path.is_dir() and path.is_relative_to("/tmp")]  # noqa: S108 - what it hides
    return tuple(path for path in below if not any(other in path.parents for other in below))
