"""The operations that one forward call of a model consists of."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True)
class Operation:
    """One operator of the eager model as PyTorch dispatches it, on one batch."""

    name: str
    """Name in ``aten``, such as ``convolution`` or ``addmm``."""
    kind: str
    """Class of the operator: ``conv``, ``conv_depthwise``, ``matmul``, ``attention``, ``elementwise`` ..."""
    flops: float
    """FLOPs: two for a multiplication with its addition, or one for each written element where it is no product."""
    read_bytes: float
    """Size of its inputs without the weights."""
    weight_bytes: float
    written_bytes: float
    shape: tuple[int, ...]
    """Shape of its first output."""
    dtype: str
    sizes: dict[str, int] = field(default_factory=dict)
    """Sizes that a kernel's speed depends on: ``m``, ``n``, ``k`` of its matrix product, ``groups``, ``kernel``."""
    fusible: bool = False
    """Whether it is elementwise or a normalisation, and alone reads the output of the operation before it."""


@dataclass(frozen=True)
class Workload:
    """The work of one forward call on one batch."""

    operations: tuple[Operation, ...]
    parameters_mb: float
    """Size of the parameters in 10^6 bytes."""
    batch_size: int

    @property
    def flops(self) -> float:
        """FLOPs of all operations."""
        return sum(operation.flops for operation in self.operations)

    @property
    def digest(self) -> str:
        """32 hexadecimal digits that are equal for equal work."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:32]
