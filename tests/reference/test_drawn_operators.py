"""Every operation of PPQ's and esp-ppq's tables on random operands, against ONNX Runtime."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from quantable.adapters.onnxruntime import OrtModel
from quantable.backends.onnx.emit import emit
from quantable.frontend import import_model
from quantable.reference import ReferenceRuntime
from quantable.targets.description import Target, load_target
from tests.reference.drawn_operators import (
    ANOTHER_NAME,
    ESP_PPQ,
    NO_STRATEGY,
    PPQ,
    STRATEGIES,
)
from tests.reference.drawn_operators.drawing import Array, Case, Draw
from tests.reference.drawn_operators.models import expected, feeds_of, save
from tests.reference.drawn_operators.quantizing import (
    constants_of,
    is_quantized,
    quantized,
    steps_of,
    write_target,
)

onnxruntime = pytest.importorskip("onnxruntime")
KINDS = sorted(STRATEGIES)


def test_every_operation_of_ppq_has_a_strategy_or_a_reason() -> None:
    assert len(PPQ) == 100
    assert len(ESP_PPQ) == 14
    named = {*PPQ, *ESP_PPQ} - set(NO_STRATEGY)
    assert {ANOTHER_NAME.get(name, name) for name in named} <= set(STRATEGIES)
    assert not set(ANOTHER_NAME) & set(NO_STRATEGY)


@st.composite
def cases(draw: Callable[[st.SearchStrategy[Any]], Any], kind: str) -> Case:
    return STRATEGIES[kind](Draw(draw, kind))


def _constant(case: Case, is_constant: bool) -> frozenset[int]:
    """Return the slots that are initializers: all but the first, or those that have to be."""
    there = {slot for slot, array in enumerate(case.given) if array is not None}
    return frozenset(there - {min(there)} if is_constant else case.constants & there)


def _close(found: Array, want: Array, tolerance: float) -> None:
    assert (found.dtype, found.shape) == (want.dtype, want.shape)
    if not tolerance or want.dtype.kind not in "f":
        np.testing.assert_array_equal(found, want)
        return
    finite = np.abs(want[np.isfinite(want)]).max(initial=1.0)
    np.testing.assert_allclose(found, want, tolerance, tolerance * float(finite))


def _as_onnx_runtime(case: Case, is_constant: bool) -> None:
    constant = _constant(case, is_constant)
    wanted = expected(case, constant)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "node.onnx"
        for is_open in (False, True):  # sizes as numbers, and as symbols
            save(case, constant, wanted, path, is_open)
            graph = import_model(path)
            found = ReferenceRuntime(graph).run(feeds_of(case, constant))
            for mine, want in zip(found.values(), wanted, strict=True):
                _close(mine, want, case.tolerance)


def _as_simulated(target: Target, folder: Path) -> Callable[[Case, bool], None]:
    """Return what compares simulated quantization with the emitted file."""

    def check(case: Case, is_constant: bool) -> None:
        constant = constants_of(case, is_constant)
        feeds = feeds_of(case, constant)
        save(case, constant, expected(case, constant), folder / "node.onnx")
        graph = quantized(import_model(folder / "node.onnx"), feeds, target)
        simulated = ReferenceRuntime(graph).run(feeds)
        emit(graph, folder)
        found = OrtModel(folder / "model.onnx").run(feeds)
        steps = steps_of(graph)
        for name, mine in simulated.items():
            _within_a_step(mine, found[name], steps.get(name, 0.0), case.tolerance)

    return check


def _within_a_step(mine: Array, want: Array, step: float, tolerance: float) -> None:
    """Sums and functions differ in their last bits: few elements may fall on the other side."""
    assert (mine.dtype, mine.shape) == (want.dtype, want.shape)
    if not tolerance or not step or want.dtype.kind != "f":
        _close(mine, want, tolerance)
        return
    off = np.abs(mine.astype(np.float64) - want)
    largest = float(np.abs(want).max(initial=1.0))
    assert off.max(initial=0.0) <= 1.01 * step + tolerance * largest
    assert np.count_nonzero(off > tolerance * largest) <= max(1, want.size // 50)


def _explore(check: Callable[[Case, bool], None], kind: str, examples: int) -> None:
    @settings(max_examples=examples, deadline=None, database=None, derandomize=True,
              phases=[Phase.generate], suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(cases(kind), st.booleans())
    def run(case: Case, is_constant: bool) -> None:
        check(case, is_constant)

    run()


@pytest.mark.parametrize("kind", KINDS)
def test_float_results_are_those_of_onnx_runtime(kind: str) -> None:
    _explore(_as_onnx_runtime, kind, 3)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Target:
    path = tmp_path_factory.mktemp("target") / "everything.toml"
    write_target(path)
    return load_target(path)


QUANTIZED = [kind for kind in KINDS if is_quantized(kind)]


@pytest.mark.parametrize("kind", QUANTIZED)
def test_simulated_quantization_is_what_the_emitted_file_does(
    kind: str, target: Target, tmp_path: Path
) -> None:
    _explore(_as_simulated(target, tmp_path), kind, 1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_many_float_results_are_those_of_onnx_runtime(kind: str) -> None:
    _explore(_as_onnx_runtime, kind, 12)


@pytest.mark.slow
@pytest.mark.parametrize("kind", QUANTIZED)
def test_much_simulated_quantization_is_what_the_emitted_file_does(
    kind: str, target: Target, tmp_path: Path
) -> None:
    _explore(_as_simulated(target, tmp_path), kind, 4)
