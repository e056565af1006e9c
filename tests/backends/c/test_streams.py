"""Random networks that run in turns of rows: the reference's integers, sanitizers, emulation."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from quantable.adapters.c_compiler import run_selftest
from quantable.adapters.emulated import EmulatedModel
from quantable.adapters.processors import missing_tools
from quantable.backends.c import emit
from quantable.ir import Graph, OptionError
from quantable.ir.memory_check import border_values
from quantable.passes.plan.streams import make_stream
from quantable.reference import ReferenceRuntime
from quantable.targets.kernel_sets import ARMV7EM, ARMV81M, PORTABLE, X86, KernelSet
from tests.backends.c.signed import signed
from tests.backends.c.test_emit import SANITIZERS, has_sanitizers
from tests.passes.plan.drawn import block, chain, placed, streamed

SETTINGS = settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
VECTORS = 2
THREADED = ("-DQUANTABLE_THREADS=3", "-DQUANTABLE_PATIENCE=1", "-pthread", "-fsanitize=thread")


def _golden(graph: Graph) -> dict[str, np.ndarray]:
    """Return integers of the border: random ones, and what the reference makes of them."""
    random, reference = np.random.default_rng(4), ReferenceRuntime(graph)
    (name,) = graph.inputs
    value = graph.values[name]
    shape = (VECTORS, *map(int, value.shape or ()))
    low, high = value.dtype.minimum, value.dtype.maximum
    inputs = random.integers(low, high, shape, endpoint=True).astype(value.dtype.numpy)
    runs = [reference.run({name: x}) for x in inputs]
    return {name: inputs, **{n: np.stack([run[n] for run in runs]) for n in graph.outputs}}


def _suited(graph: Graph, kernels: KernelSet) -> Graph:
    """Return the network on the bytes that the kernels take."""
    return signed(graph) if kernels is ARMV81M else graph


def _self_test(graph: Graph, kernels: KernelSet, flags: tuple[str, ...]) -> None:
    graph = _suited(graph, kernels)
    with tempfile.TemporaryDirectory() as folder:
        emit(graph, folder, golden=_golden(graph), kernels=kernels)
        passed, text = run_selftest(Path(folder), compiler="gcc", flags=flags)
        assert passed, text


@pytest.mark.parametrize(("kernels", "rows"), [(PORTABLE, 2), (ARMV7EM, 1), (ARMV81M, 1)],
                         ids=["portable", "armv7em", "armv81m"])  # fmt: skip
def test_code_gives_the_integers_of_the_reference(kernels: KernelSet, rows: int) -> None:
    graph = block()
    stream = make_stream(graph, graph.operations, rows, border_values(graph), 1)
    assert stream is not None
    _self_test(placed(graph, [stream]), kernels, ("-O1", "-fsanitize=undefined"))


def test_threads_meet_before_a_stream_whatever_step_of_it_runs_first() -> None:
    """Its first turns may need no row of its first step, and another one read too early."""

    @SETTINGS
    @given(streamed())
    def check(graph: Graph) -> None:
        with tempfile.TemporaryDirectory() as folder:
            emit(graph, folder, kernels=PORTABLE)
            text = (Path(folder) / "model.c").read_text("utf-8")
        sizes = [int(size) for size in re.findall(r"Q_BEGIN_STEP\(t, (\d)\)", text)]
        before = r"Q_MEET_BETWEEN\(t, (\d)\);\s*\{ /\* Steps (\d+) to (\d+) in turns"
        for met, first, last in re.findall(before, text):
            assert int(met) >= max(sizes[int(first) : int(last) + 1])

    check()


@pytest.mark.fuzz
@pytest.mark.skipif(not has_sanitizers("gcc", THREADED), reason="no thread sanitizer of gcc")
def test_threads_share_streams_without_a_race() -> None:
    @SETTINGS
    @given(streamed())
    def check(graph: Graph) -> None:
        _self_test(graph, PORTABLE, ("-O1", *THREADED))

    check()


@pytest.mark.fuzz
@pytest.mark.skipif(not has_sanitizers("gcc"), reason="no sanitizers of gcc on this machine")
@pytest.mark.parametrize("kernels", [PORTABLE, ARMV7EM, ARMV81M],
                         ids=lambda kernels: kernels.name)  # fmt: skip
def test_sanitizers_find_nothing_in_many_networks(kernels: KernelSet) -> None:
    @SETTINGS
    @given(streamed())
    def check(graph: Graph) -> None:
        _self_test(graph, kernels, ("-O1", *SANITIZERS))

    check()


@pytest.mark.slow
@pytest.mark.parametrize(("kernels", "core"), [(ARMV7EM, "cortex-m4"), (ARMV81M, "cortex-m55")],
                         ids=["armv7em", "armv81m"])  # fmt: skip
def test_emulated_code_gives_the_integers_of_the_reference(kernels: KernelSet, core: str) -> None:
    if missing_tools(core):
        pytest.skip(f"needs {', '.join(missing_tools(core))}")

    @settings(SETTINGS, max_examples=8)
    @given(streamed())
    def check(graph: Graph) -> None:
        graph = _suited(graph, kernels)
        golden = _golden(graph)
        with tempfile.TemporaryDirectory() as folder:
            emit(graph, folder, kernels=kernels)
            found = EmulatedModel(folder, processor=core).run(
                {name: golden[name] for name in graph.inputs}
            )
        for name in graph.outputs:
            np.testing.assert_array_equal(found.outputs[name], golden[name])

    check()


def test_a_plan_of_ordered_kernels_is_not_emitted_for_others(tmp_path: Path) -> None:
    graph = placed(chain(2), [])
    with pytest.raises(OptionError, match="counts on kernels that make pixels in ascending order"):
        emit(graph, tmp_path, kernels=X86)
    assert not list(tmp_path.iterdir())
