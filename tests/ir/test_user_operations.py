"""Definitions of user operations: what is refused, and what their digest covers."""

from __future__ import annotations

import functools
import importlib
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from quantable.ir import Graph, OptionError, UserError
from quantable.ir.operation_library import (
    OperationLibrary,
    RegisteredOperation,
    definition_digest,
    record_key,
    recorded_versions,
    registered,
    require_recorded,
)
from quantable.ir.user_operations import (
    SAME,
    CKernel,
    Decomposition,
    IntegerKernel,
    QuantizationRule,
    Table,
    UserOperation,
    resolved,
)


def semantics(x: Any, *, slope: float = 1.0) -> Any:
    return x * slope


STEEP = UserOperation(
    "com.example", "Steep", ("x", "bias?"), ("y",), SAME, semantics, attributes={"slope": 1.0},
    rule=QuantizationRule(), integer=Table(),
)  # fmt: skip
KERNEL = IntegerKernel(("x",), semantics, semantics, c=CKernel("int f;", {"u8->u8": "f"}, ("x",)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"domain": ""}, "expected a domain of one's own, such as com.example, found ''"),
        ({"domain": "com.microsoft"}, "expected a domain of one's own"),
        ({"domain": "com example"}, "expected a domain of one's own"),
        ({"inputs": ()}, "expected names of inputs"),
        ({"outputs": ("x y",)}, r"found \['x y'\]"),
        ({"outputs": ("x",)}, "expected different names"),
        ({"shape": "sma"}, "shape: expected 'same', 'broadcast' or a function, found 'sma'"),
        ({"rule": QuantizationRule("computes")}, "expected a role of compute, .*'computes'"),
        ({"rule": QuantizationRule(inputs=("actvation",))}, r"found \['actvation'\]"),
        ({"rule": None, "integer": Decomposition(semantics)}, "integer semantics need a rule"),
        ({"outputs": ("y", "z"), "integer": KERNEL}, "an integer kernel makes one output, found 2"),
    ],
)
def test_definitions_that_contradict_themselves_are_refused(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        replace(STEEP, **changes)


def test_the_digest_covers_data_c_and_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = {
        definition_digest(one)
        for one in (
            STEEP, replace(STEEP, versions=(1, 2)), replace(STEEP, attributes={"slope": 2.0}),
            replace(STEEP, integer=KERNEL),
            replace(STEEP, integer=replace(KERNEL, c=replace(KERNEL.c, source="int g;"))),
        )
    }  # fmt: skip
    assert len(digests) == 5
    again = replace(STEEP, semantics=functools.partial(semantics))
    assert definition_digest(again) == definition_digest(replace(again))
    monkeypatch.syspath_prepend(tmp_path)
    found = set()
    for body in ("return x", "return x + 1"):
        (tmp_path / "steep_source.py").write_text(f"def f(x):\n    {body}\n")
        importlib.invalidate_caches()
        sys.modules.pop("steep_source", None)
        found.add(definition_digest(replace(STEEP, semantics="steep_source:f")))
        assert "steep_source" not in sys.modules, "reading the source must not run it"
    assert len(found) == 2


def test_functions_without_a_source_are_refused() -> None:
    with pytest.raises(OptionError, match=r"expected the source of .*, found none"):
        definition_digest(replace(STEEP, semantics=max))
    with pytest.raises(OptionError, match="expected the source of module 'sys', found none"):
        definition_digest(replace(STEEP, semantics="sys:exit"))


def test_references_are_functions() -> None:
    assert resolved(semantics) is semantics
    assert resolved("math:sqrt")(4) == 2
    for reference in ("no_such_module:f", "math:no_such_name"):
        with pytest.raises(OptionError, match=f"expected a function at '{reference}', found none"):
            resolved(reference)


def _library(version: str = "1.2", digest: str = "ab" * 32) -> OperationLibrary:
    return OperationLibrary({STEEP.kind: RegisteredOperation(STEEP, "steep", version, digest)})


def test_a_graph_asks_for_what_it_was_imported_with() -> None:
    held = _library()[STEEP.kind]
    graph = Graph("g", metadata={record_key(STEEP.kind): held.record(3)}, library=_library())
    assert registered(graph, STEEP.kind) == registered(graph, STEEP.integer_kind) == held
    assert registered(graph, "Conv") is registered(graph, "int.Conv") is None
    assert recorded_versions(graph.metadata) == {"com.example": 3}
    require_recorded(graph)
    for library, found in (
        (OperationLibrary(), "expected operation package steep 1.2, found none"),
        (_library("1.3"), "expected operation package steep 1.2, found steep 1.3"),
        (_library(digest="cd" * 32),
         "package steep 1.2 with definition abababababab, found definition cdcdcdcdcdcd"),
    ):  # fmt: skip
        other = replace(graph, library=library)
        assert other == graph
        with pytest.raises(UserError, match=found):
            registered(other, STEEP.integer_kind)
        with pytest.raises(UserError, match=found):
            require_recorded(other)


def test_a_library_has_one_digest_whatever_the_order() -> None:
    other = replace(STEEP, name="Steeper")
    entries = [RegisteredOperation(op, "steep", "1", op.name) for op in (STEEP, other)]
    both = [
        OperationLibrary({e.definition.kind: e for e in order})
        for order in (entries, entries[::-1])
    ]
    assert both[0].digest == both[1].digest != OperationLibrary().digest == ""
    assert list(both[0]) == ["com.example.Steep", "com.example.Steeper"]
