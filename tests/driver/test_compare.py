"""Two forms of one network are joined value by value, and the first that is off is named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from quantable.driver import api
from quantable.driver.compare import Comparison, compare
from quantable.driver.compile import Compilation
from quantable.driver.standing import standings, with_real_values
from quantable.ir import Graph, OptionError
from tests.driver.conftest import Digits
from tests.ir.diff.names import renamed

Compiled = Callable[[str], tuple[Path, Compilation]]
INFINITE = float("inf")


def _compare(digits: Digits, a: Path, b: Path, threshold: float = INFINITE) -> Comparison:
    return compare(a, b, digits.test, digits.how, samples=4, threshold_db=threshold)


def _saved(graph: Graph, path: Path) -> Path:
    api.save(graph, path, inline_limit=None)
    return path


def test_integer_levels_are_equal_in_every_value(digits: Digits, compiled: Compiled) -> None:
    folder, _ = compiled("x86-vnni")
    found = _compare(digits, folder / "05-lower.qir", folder / "06-plan.qir")
    operations = api.load(folder / "05-lower.qir").operations
    made = {op.name for op in operations if op.kind != "int.Dequantize"}
    assert found.first is None
    assert {value.operation.name for value in found.values} == made
    assert all(value.measure.max_abs == 0 for value in found.values)


def test_lowering_is_joined_through_the_rows_of_its_origin(
    digits: Digits, compiled: Compiled
) -> None:
    folder, _ = compiled("x86-vnni")
    for integer in ("05-lower.qir", "06-plan.qir"):
        found = _compare(digits, folder / "04-opt.qir", folder / integer, 30)
        kinds = [value.operation.kind for value in found.values]
        assert found.first is None
        assert kinds.count("Conv") + kinds.count("Clip") >= 3
        assert all((value.measure.cosine or 0) > 0.999 for value in found.values)
        # The float graph has no rows: the origin is found beside the integer file.
        float_found = _compare(digits, folder / "01-opt.qir", folder / integer, 10)
        assert len(float_found.values) == len(found.values)
        assert float_found.first is None


def test_without_an_origin_only_the_border_has_a_grid(
    digits: Digits, compiled: Compiled, tmp_path: Path
) -> None:
    folder, _ = compiled("x86-vnni")
    alone = _saved(api.load(folder / "05-lower.qir"), tmp_path / "alone.qir")
    found = _compare(digits, folder / "01-opt.qir", alone, 10)
    with_origin = compare(
        folder / "01-opt.qir", alone, digits.test, digits.how, samples=4,
        origin=folder / "04-opt.qir", threshold_db=10,
    )  # fmt: skip
    assert 1 <= len(found.values) < len(with_origin.values)


def test_emitted_code_equals_its_stage(digits: Digits, compiled: Compiled) -> None:
    folder, _ = compiled("x86-vnni")
    for pair in ((folder / "06-plan.qir", folder), (folder, folder / "06-plan.qir")):
        found = _compare(digits, *pair)
        assert found.first is None
        assert [value.measure.differing for value in found.values] == [0]


def test_onnx_is_observed_inside(digits: Digits, compiled: Compiled) -> None:
    folder, _ = compiled("onnxruntime")
    found = _compare(digits, folder / "04-opt.qir", folder, 60)
    assert len(found.values) == len(api.load(folder / "04-opt.qir").operations)
    assert found.first is None


def test_the_first_operation_that_is_off_is_named(
    digits: Digits, compiled: Compiled, tmp_path: Path
) -> None:
    folder, _ = compiled("x86-vnni")
    graph = api.load(folder / "03-calibrate.qir")
    op = [op for op in graph.quantable_operations if op.kind == "Conv"][1]
    weight = graph.array(op.inputs[1])
    ref = graph.store.put(np.zeros_like(weight))
    broken = replace(graph, parameters={**graph.parameters, op.inputs[1]: ref})
    found = _compare(
        digits, folder / "03-calibrate.qir", _saved(broken, tmp_path / "broken.qir"), 20
    )
    assert found.first is not None
    assert found.first.operation.name == op.name
    before = found.values[: found.values.index(found.first)]
    assert before
    assert all(value.measure.differing == 0 for value in before)
    assert found.facts()["first"] == found.first.facts()


def test_ties_are_told_from_other_differences(
    digits: Digits, compiled: Compiled, tmp_path: Path
) -> None:
    folder, _ = compiled("x86-vnni")
    graph = api.load(folder / "03-calibrate.qir")
    op = next(op for op in graph.quantable_operations if op.config.outputs[0].state.is_in_force)
    row = graph.rows[op.config.outputs[0].row]
    assert _shares(_compare(digits, folder / "03-calibrate.qir", folder / "03-calibrate.qir")) == {
        None
    }
    other = graph.with_rows([replace(row, scale=(row.scale[0] * 1.2,))])
    found = _compare(
        digits, folder / "03-calibrate.qir", _saved(other, tmp_path / "other.qir")
    )  # fmt: skip
    first = found.first
    assert first is not None
    assert first.value == op.outputs[0]
    assert first.differing_steps
    assert first.tie_share is not None
    assert first.tie_share < 0.05


def _shares(found: Comparison) -> set[float | None]:
    return {value.tie_share for value in found.values}


def test_names_do_not_matter(digits: Digits, compiled: Compiled, tmp_path: Path) -> None:
    folder, _ = compiled("x86-vnni")
    graph = api.load(folder / "04-opt.qir")
    other = _saved(renamed(graph, 1, fresh=True), tmp_path / "renamed.qir")
    found = _compare(digits, folder / "04-opt.qir", other)
    assert found.first is None
    assert len(found.values) == len(graph.operations)


def test_two_folders_and_two_networks_are_refused(
    digits: Digits, compiled: Compiled, tmp_path: Path
) -> None:
    folder, _ = compiled("x86-vnni")
    with pytest.raises(OptionError, match="at least one stage file"):
        _compare(digits, folder, folder)
    graph = api.load(folder / "01-opt.qir")
    nothing = replace(graph, operations=(), outputs=graph.inputs)
    with pytest.raises(OptionError, match="no value in common"):
        _compare(digits, folder / "01-opt.qir", _saved(nothing, tmp_path / "nothing.qir"))


def test_real_values_change_no_number(digits: Digits, compiled: Compiled) -> None:
    folder, _ = compiled("x86-vnni")
    graph = api.load(folder / "04-opt.qir")
    probed, quantizers = with_real_values(graph)
    names = [held.value for held in standings(graph)]
    reals = [quantizer.real for quantizer in quantizers.values()]
    before = api.run(graph, digits.test, digits.how, samples=2, outputs=names)
    after = api.run(probed, digits.test, digits.how, samples=2, outputs=[*names, *reals])
    assert all(np.array_equal(before[name], after[name]) for name in names)
    assert quantizers
    assert any(not np.array_equal(after[q.real], after[n]) for n, q in quantizers.items())
