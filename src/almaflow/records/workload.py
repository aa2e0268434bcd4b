"""What one forward call of a model consists of."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Operation:
    """One operator of the eager model as PyTorch dispatches it, on one batch."""

    name: str
    """As ``aten`` calls it: ``convolution``, ``addmm``."""
    kind: str
    """Its class: ``conv``, ``conv_depthwise``, ``matmul``, ``attention``, ``elementwise`` ..."""
    flops: float
    """A multiplication with its addition is two; one for each written element where it is no product."""
    read_bytes: float
    """Of its inputs, weights left out."""
    weight_bytes: float
    written_bytes: float
    shape: tuple[int, ...]
    """Of its first output."""
    dtype: str
    sizes: dict[str, int] = field(default_factory=dict)
    """What a kernel's speed depends on: ``m``, ``n``, ``k`` of the product that it comes to, ``groups``, ``kernel``."""
    fusible: bool = False
    """An elementwise operation or a normalisation on the only use of what the operation before it gave."""


@dataclass(frozen=True)
class Workload:
    """What one forward call on one batch comes to."""

    operations: tuple[Operation, ...]
    parameters_mb: float
    """10^6 bytes."""
    batch_size: int

    @property
    def flops(self) -> float:
        """Of all operations."""
        return sum(operation.flops for operation in self.operations)
