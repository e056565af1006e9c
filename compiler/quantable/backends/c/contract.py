"""How emitted code requantizes: one form for the whole of a network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantable.backends.c.text import number
from quantable.ir import Graph, UnsupportedError
from quantable.ir.integer_operations import INTEGER_OPERATIONS

_ATTRIBUTE = "requantization"
_MANTISSA = 31
_REQUANTIZING = frozenset(
    row.kind for row in INTEGER_OPERATIONS.values() if "requantization" in row.optional
) | {"int.LayerNormalization"}
_ROUNDINGS = {"fixed-point-double": 2, "fixed-point-single": 1}


@dataclass(frozen=True, slots=True)
class Contract:
    """The arithmetic of requantization.

    Attributes:
        name: For the manifest.
        roundings: Of a fixed-point multiplier; 0: all are powers of two; None: of a float.
    """

    name: str
    roundings: int | None = None

    @property
    def is_float(self) -> bool:
        """Whether multipliers are floats, as those of `float32-rne`."""
        return self.roundings is None

    @property
    def definition(self) -> list[str]:
        """C that comes before every kernel."""
        if self.is_float:
            return []
        return [f"#define QUANTABLE_FIXED_POINT {self.roundings}"]

    def multiplier(self, value: float) -> str:
        """Return an initializer of a `q_multiplier`."""
        if self.is_float:
            return number(value)
        factor, exponent = fixed_point(np.asarray(value))
        return f"{{{int(factor)}, {int(exponent)}}}"


def fixed_point(values: npt.NDArray[np.generic]) -> tuple[npt.NDArray[np.int64], ...]:
    """Return factors and exponents of multipliers ``factor * 2**(exponent - 31)``."""
    mantissa, exponent = np.frexp(values.astype(np.float64))
    return np.ldexp(mantissa, _MANTISSA).astype(np.int64), exponent.astype(np.int64)


def contract_of(graph: Graph) -> Contract:
    """Return the form that all operations of a graph have.

    Raises:
        UnsupportedError: They have several.
    """
    found = {
        operation.string_attribute(_ATTRIBUTE, "")
        for operation in graph.operations
        if operation.kind in _REQUANTIZING
    } or {""}
    if len(found) > 1:
        raise UnsupportedError(
            f"expected one form of requantization, found {', '.join(sorted(found))}",
            where=f"graph '{graph.name}'", help="lower the whole network for one target",
        )  # fmt: skip
    name = found.pop()
    if not name:
        return Contract("float32-rne")
    if name not in _ROUNDINGS:
        raise UnsupportedError(f"no kernel requantizes by '{name}'", where=f"graph '{graph.name}'")
    roundings = _ROUNDINGS[name]
    only_shifts = roundings == 1 and all(_are_powers(v) for v in _multipliers(graph))
    return Contract(name, 0 if only_shifts else roundings)


def _multipliers(graph: Graph) -> list[npt.NDArray[np.generic]]:
    found = []
    for operation in graph.operations:
        if _ATTRIBUTE not in operation.attributes:
            continue
        if "multiplier" in operation.attributes:
            found.append(np.asarray(operation.float_attribute("multiplier")))
        else:
            slot = 1 if operation.kind == "int.AveragePool" else 3
            found.append(graph.array(operation.inputs[slot]))
    return found


def _are_powers(values: npt.NDArray[np.generic]) -> bool:
    mantissa = np.frexp(values.astype(np.float64))[0]
    return bool(((mantissa == 0.5) | (mantissa == 0.0)).all())
