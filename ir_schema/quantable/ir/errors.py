"""Every error Quantable raises on purpose.

    QuantableError                 exit code
    ├── UserError                  1    the input is at fault; never shown with a traceback
    │   ├── FormatError                 a truncated, corrupt, foreign or too new file
    │   ├── ModelError                  an ONNX model that is invalid or incomplete
    │   ├── UnsupportedError            something the frontend or the target cannot do
    │   ├── DataError                   calibration or test data that cannot be used
    │   ├── OptionError                 an option's value is out of range or contradicts another
    │   └── UnknownNameError            an unknown pass, target, option ... (with the nearest names)
    ├── InvariantError             70   the IR breaks one of its own rules: a pass is at fault
    │   └── StateError                  an illegal transition of a quantization state
    └── InternalError              70   anything else that is our fault

A message says what happened, ``expected X, found Y``, where, and what to do next.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class QuantableError(Exception):
    """Root of all errors.

    Args:
        message: What happened, lower case, one line.
        where: The place: file, operation, slot or sample, from the outside in.
        help: What the reader can do next.
    """

    code = "E0000"
    exit_code = 70

    def __init__(self, message: str, *, where: str = "", help: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.help = help

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        return f"{text}\n  help: {self.help}" if self.help else text


class UserError(QuantableError):
    """What the user gave cannot be used."""

    code = "E0100"
    exit_code = 1


class FormatError(UserError):
    """A file is truncated, corrupt, foreign, or written by a newer version."""

    code = "E0101"


class ModelError(UserError):
    """An ONNX model is invalid, cyclic, or misses its external data."""

    code = "E0102"


class UnsupportedError(UserError):
    """The frontend or the target cannot do what the model asks for."""

    code = "E0103"


class DataError(UserError):
    """Calibration or test data is empty, of a wrong shape or dtype, or not finite."""

    code = "E0104"


class OptionError(UserError):
    """An option's value is out of range or contradicts another option."""

    code = "E0105"


class UnknownNameError(UserError):
    """A name that no table holds."""

    code = "E0106"

    def __init__(self, kind: str, name: str, known: Iterable[str], *, where: str = "") -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(names)}"
        super().__init__(f"unknown {kind} '{name}'", where=where, help=hint)


class InvariantError(QuantableError):
    """The IR breaks one of its own rules."""

    code = "E0200"


class StateError(InvariantError):
    """An illegal transition of a quantization state."""

    code = "E0201"


class InternalError(QuantableError):
    """A fault of Quantable itself."""

    code = "E0300"


def _subclasses(root: type[QuantableError]) -> Iterable[type[QuantableError]]:
    yield root
    for child in root.__subclasses__():
        yield from _subclasses(child)


def diagnostics() -> dict[str, type[QuantableError]]:
    """Return the table of all diagnostics by code."""
    return {cls.code: cls for cls in _subclasses(QuantableError)}
