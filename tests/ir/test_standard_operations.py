"""The table of the standard's operations is complete, and all that reads it agrees with it."""

from __future__ import annotations

import onnx
import pytest

from quantable.ir.integer_operations import MOVEMENT_OPERATIONS
from quantable.ir.standard_operations import (
    Role,
    StandardOperation,
    known_operations,
    microsoft_operations,
    standard_operations,
)
from quantable.passes.canonicalize.shapes.inference import SHAPE_FUNCTIONS
from quantable.reference.derived import SAME_ELEMENTS
from quantable.reference.operations.table import FLOAT_OPERATIONS
from quantable.targets.description import FLOAT, PASSIVE, TARGETS, load_target

STANDARD = standard_operations()
ROWS = known_operations()
_MARKS = {"Single": "", "Optional": "?", "Variadic": "*"}
_UPGRADED = {"Constant", "Upsample"}
"""Taken by the frontend, and never in a graph: lifted to parameters, replaced by the upgrade."""


def _names(items: list[onnx.defs.OpSchema.FormalParameter]) -> tuple[str, ...]:
    return tuple(item.name + _MARKS[item.option.name] for item in items)


def test_the_table_holds_what_the_standard_has() -> None:
    history: dict[str, list[onnx.defs.OpSchema]] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        if not schema.domain:
            history.setdefault(schema.name, []).append(schema)
    assert set(STANDARD) == set(history)
    for kind, schemas in history.items():
        row, newest = STANDARD[kind], max(schemas, key=lambda schema: schema.since_version)
        assert row.versions == tuple(sorted(s.since_version for s in schemas)), kind
        assert row.inputs == _names(newest.inputs), kind
        assert row.outputs == _names(newest.outputs), kind
        assert row.attributes == tuple(sorted(newest.attributes)), kind


def test_the_second_table_holds_what_onnx_runtime_adds() -> None:
    state = pytest.importorskip("onnxruntime.capi.onnxruntime_pybind11_state")
    found = {
        f"com.microsoft.{schema.name}": schema
        for schema in state.get_all_operator_schema()
        if schema.domain == "com.microsoft" or schema.name == "SimplifiedLayerNormalization"
    }
    rows = microsoft_operations()
    assert set(rows) == set(found)
    for kind, schema in found.items():
        if not rows[kind].left_out:
            assert rows[kind].versions == (schema.since_version,), kind
            assert rows[kind].inputs == _names(schema.inputs), kind
            assert rows[kind].outputs == _names(schema.outputs), kind
            assert rows[kind].attributes == tuple(sorted(schema.attributes)), kind


def test_every_row_has_semantics_or_a_reason() -> None:
    without = {kind for kind in ROWS if kind not in FLOAT_OPERATIONS} - _UPGRADED
    assert without == {kind for kind, row in ROWS.items() if row.left_out}


def test_shape_functions_are_those_of_the_table() -> None:
    named = {kind for kind, row in ROWS.items() if row.has_shape_function}
    assert named == set(SHAPE_FUNCTIONS) - {"quantable.Linear"}


@pytest.mark.parametrize("row", ROWS.values(), ids=lambda row: row.kind)
def test_a_row_has_letters_for_its_slots(row: StandardOperation) -> None:
    letters = row.slots.removesuffix("*")
    assert set(letters) <= set("vwbpif")
    assert len(letters) <= len(row.inputs)
    assert (row.role is Role.FLOAT) == (not letters)
    assert not row.slots.endswith("*") or row.inputs[-1].endswith("*")


@pytest.mark.parametrize("name", TARGETS)
def test_rules_of_targets_agree_with_the_table(name: str) -> None:
    for rule in load_target(name).rules.values():
        row = ROWS.get(rule.kind)
        if row is None:
            continue
        roles = {"compute": {Role.COMPUTE}, "passive": {Role.PASSIVE}}.get(
            rule.role, {Role.ELEMENTWISE, Role.JOIN}
        )
        assert row.role in roles, rule.kind
        for slot, scheme in enumerate(rule.inputs):
            letter = row.slot(slot)
            if letter in "if":
                assert scheme == FLOAT, f"{rule.kind} in{slot}"
            elif letter == "p":
                assert scheme in (PASSIVE, FLOAT), f"{rule.kind} in{slot}"
            else:
                assert scheme != FLOAT, f"{rule.kind} in{slot}"


def test_operations_that_keep_their_kind_as_integers_only_move_elements() -> None:
    moving = {kind for kind, row in ROWS.items() if row.role in (Role.PASSIVE, Role.JOIN)}
    assert set(MOVEMENT_OPERATIONS) <= moving
    assert set(SAME_ELEMENTS) <= moving
