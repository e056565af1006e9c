"""The values of a text: what defines each, with which type, and whether every use is of one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from lark import Token

from quantable.ir.contents import ContentRef
from quantable.ir.values import Container, Value
from quantable.text.pieces import ValueType
from quantable.text.records import Record
from quantable.text.spelling import nearest
from quantable.text.workbench import Workbench, start_of


class Values:
    """Collects values in the order of the text.

    Args:
        bench: Reads tokens and remembers faults.
        checked: Whether definitions and uses must fit each other.
    """

    def __init__(self, bench: Workbench, checked: bool) -> None:
        self.found: dict[str, Value] = {}
        self._bench = bench
        self._checked = checked
        self._defined: dict[str, int] = {}
        self._parameters: set[str] = set()
        self._untyped: dict[str, int] = {}
        self._unknown: list[tuple[str, str, int, int]] = []

    def declared(self, record: Record, what: str) -> str:
        """Define a value with its type and return its name."""
        token, *types = record.parts
        name = self._bench.name(token)
        is_new = True
        if self._checked and (name or what != "result"):
            is_new = self._define(name, token, what)
        if not types or not is_new:
            return name
        (type_,) = types
        if type_.type == "TYPE":
            self._type(name, self._bench.type(type_), type_)
        else:
            self._bench.fault_at(type_, f"expected a type such as f32[1, 3], found '{type_[:40]}'")
        return name

    def parameter(self, record: Record, ref: ContentRef | None) -> str:
        """Define a parameter, whose type is that of its contents, and return its name."""
        token, *types = record.parts
        name = self._bench.name(token)
        self._parameters.add(name)
        if self._checked and not self._define(name, token, "parameter"):
            return name
        if types and types[0].type == "TYPE":
            given = self._bench.type(types[0])
            if (
                self._checked
                and ref is not None
                and given != (ref.dtype, ref.shape, Container.TENSOR)
            ):
                self._bench.fault_at(
                    types[0], f"parameter {token} has another type than its contents",
                    "leave it out: the contents have one",
                )  # fmt: skip
            self._type(name, given, types[0])
        elif types and types[0] != "_":
            self._bench.fault_at(types[0], f"expected a type or '_', found '{types[0][:40]}'")
        elif not types and ref is not None:
            self._type(name, (ref.dtype, ref.shape, Container.TENSOR), token)
        return name

    def parameters(self, statements: Iterable[Sequence[Any]]) -> dict[str, ContentRef]:
        """Define the parameters of statements and return their contents by name."""
        held = []
        for typed, dense in statements:
            ref = self._bench.contents(dense)
            name = self.parameter(typed, ref)
            if ref is not None:
                held.append((name, typed.parts[0], ref))
        return self._bench.unique("parameter", held, "@")

    def used(self, token: Token) -> str:
        """Return the name of a value that is used by something else than an operation."""
        return self.use(str(token), start_of(token), len(token))

    def use(self, spelled: str, position: int, length: int) -> str:
        """Return the name of a value that is used here; '' for `_`."""
        name = self._bench.operand(spelled, position)
        if not self._checked or (not name and spelled == "_"):
            return name
        if name not in self._defined:
            self._unknown.append((name, spelled, position, length))
        elif (spelled[0] == "@") != (name in self._parameters):
            is_parameter = name in self._parameters
            what = "a parameter" if is_parameter else "no parameter"
            right = f"{'@' if is_parameter else '%'}{spelled[1:]}"
            self._bench.fault(position, length, f"{spelled[1:]} is {what}", f"write {right}")
        return name

    def finish(self) -> None:
        """Remember every use of a value that is not defined, or only further down."""
        for name, spelled, position, length in self._unknown:
            if name in self._defined:
                line = self._bench.text.count("\n", 0, self._defined[name]) + 1
                self._bench.fault(
                    position, length, f"{spelled} is used before it is made, in line {line}",
                    "operations are in topological order",
                )  # fmt: skip
            else:
                hint = nearest(name, (item for item in self._defined if item), spelled[0])
                self._bench.fault(position, length, f"undefined value {spelled}", hint)

    def _define(self, name: str, token: Token, what: str) -> bool:
        """Remember a definition; return whether it is the first of the name."""
        start = start_of(token)
        if (token[0] == "@") != (what == "parameter"):
            right = "@" if what == "parameter" else "%"
            a = "an" if what == "input" else "a"
            self._bench.fault_at(token, f"{a} {what} has the sigil {right}, found '{token}'")
        if name in self._defined:
            self._bench.twice(
                f"{'parameter' if what == 'parameter' else 'value'} {token}",
                start,
                len(token),
                self._defined[name],
            )
            return False
        self._defined[name] = start
        return True

    def _type(self, name: str, given: ValueType, token: Token) -> None:
        value = Value(name, *given)
        held = self.found.setdefault(name, value)
        if held != value:
            self._bench.fault_at(token, f"value %{name} has another type above")
