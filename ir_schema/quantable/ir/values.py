"""Values: named tensors, and the few things beside tensors that ONNX has."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from quantable.ir.dtypes import DType

Dim = int | str
"""A dimension: a number, or the name of a symbol ('?...' where nothing is known)."""
Shape = tuple[Dim, ...]


class Container(enum.Enum):
    """What holds the tensors of a value; the value is its name in the textual IR."""

    TENSOR = "tensor"
    SEQUENCE = "sequence"
    OPTIONAL = "optional"
    OPTIONAL_SEQUENCE = "optional.sequence"


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor: name, element type, and shape (None where the rank is unknown).

    Attributes:
        container: Whether it is a tensor, a sequence of tensors that all have this type and shape
            (a dimension in which they differ is a symbol), or something that may be absent.
    """

    name: str
    dtype: DType
    shape: Shape | None = None
    container: Container = field(default=Container.TENSOR, metadata={"added_later": True})

    @property
    def is_tensor(self) -> bool:
        return self.container is Container.TENSOR

    @property
    def is_real(self) -> bool:
        """Whether it is a tensor of floats: what can be measured and quantized."""
        return self.container is Container.TENSOR and self.dtype.is_float
