"""Rows of the input one after the other: what a whole run gives, from a ring of the last rows."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings

from quantable.adapters.c_compiler import STRICT, CompiledModel, compile_c
from quantable.backends.c import emit
from quantable.backends.c.border import border
from quantable.backends.c.push import find_push
from quantable.ir import FormatError, Graph
from quantable.ir.memory_check import border_values
from quantable.passes.plan.streams import make_stream
from quantable.reference import ReferenceRuntime
from quantable.targets.kernel_sets import ARMV7EM, ARMV81M, PORTABLE, X86, KernelSet
from tests.backends.c.signed import signed
from tests.passes.plan.drawn import Net, block, chain, placed, streamed

FLAGS = ("-O0", "-fsanitize=undefined", "-fno-sanitize-recover")
SETTINGS = settings(
    max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
ORDERED = [PORTABLE, ARMV7EM, ARMV81M]


def _demand_the_reference(graph: Graph, kernels: KernelSet) -> None:
    graph = signed(graph) if kernels is ARMV81M else graph
    (name,) = graph.inputs
    value, random = graph.values[name], np.random.default_rng(3)
    shape = (2, *map(int, value.shape or ()))
    low, high = value.dtype.minimum, value.dtype.maximum
    x = random.integers(low, high, shape, endpoint=True).astype(value.dtype.numpy)
    with tempfile.TemporaryDirectory() as folder:
        emit(graph, folder, kernels=kernels)
        found = CompiledModel(folder, flags=FLAGS, by_rows=True).run({name: x})
        whole = CompiledModel(folder, flags=("-O0",)).run({name: x})
    reference = ReferenceRuntime(graph)
    for index, sample in enumerate(x):
        for output, expected in reference.run({name: sample}).items():
            np.testing.assert_array_equal(found[output][index], expected)
            np.testing.assert_array_equal(whole[output][index], expected)


def _in_a_stream(graph: Graph) -> Graph:
    stream = make_stream(graph, graph.operations, 2, border_values(graph), 1)
    assert stream is not None
    return placed(graph, [stream])


@pytest.mark.parametrize(
    ("kernels", "is_streamed"), [(PORTABLE, True), (PORTABLE, False), (ARMV7EM, True)]
)
def test_rows_give_what_a_run_gives(kernels: KernelSet, is_streamed: bool) -> None:
    """Two images in one state, one after the other."""
    _demand_the_reference(_in_a_stream(block()) if is_streamed else placed(block(), []), kernels)


@pytest.mark.fuzz
@pytest.mark.parametrize("kernels", ORDERED, ids=lambda kernels: kernels.name)
def test_rows_of_many_networks(kernels: KernelSet) -> None:
    @SETTINGS
    @given(streamed())
    def check(graph: Graph) -> None:
        assume(find_push(graph, border(graph), kernels) is not None)
        _demand_the_reference(graph, kernels)

    check()


def test_the_ring_has_the_rows_of_one_window() -> None:
    graph = placed(chain(3), [])
    push = find_push(graph, border(graph), PORTABLE)
    assert push is not None
    assert (push.height, push.row, push.kept) == (8, 16, 3)


def test_a_reader_that_is_done_early_keeps_no_rows() -> None:
    """The last turns of the layers behind it took all rows for needed."""
    graph = _in_a_stream(chain(3))
    push = find_push(graph, border(graph), PORTABLE)
    assert push is not None
    assert push.is_planned
    assert push.kept <= 5


def _read_twice(first: str, second: str) -> Graph:
    """A network whose input two operations read."""
    net = Net(7)
    x = net.editor.add_value("x", net.u8, (1, 8, 4, 4))
    net.editor.inputs.append(x)
    made = [
        net.table(x) if kind == "table"
        else net.windowed(x, "int.Conv", 4, (3, 3), (1, 1), (1, 1, 1, 1)) or ""
        for kind in (first, second)
    ]  # fmt: skip
    net.editor.outputs.append(net.sum(*made))
    return placed(net.editor.finish(), [])


def test_no_entry_where_all_of_the_input_is_needed() -> None:
    for graph in (_read_twice("conv", "conv"), _read_twice("conv", "table")):
        assert find_push(graph, border(graph), PORTABLE) is None


def test_two_readers_in_one_stream() -> None:
    graph = _in_a_stream(_read_twice("conv", "conv"))
    assert find_push(graph, border(graph), PORTABLE) is not None
    _demand_the_reference(graph, PORTABLE)


def test_kernels_without_rows_have_no_entry(tmp_path: Path) -> None:
    graph = placed(chain(1), [])
    assert graph.plan is not None
    assert find_push(graph, border(graph), X86) is None
    net = _read_twice("conv", "conv")
    emit(net, tmp_path, kernels=PORTABLE)
    assert "push_row" not in (tmp_path / "model.h").read_text("utf-8")
    with pytest.raises(FormatError, match="expected code that takes rows of its input"):
        CompiledModel(tmp_path, by_rows=True)


MAIN = """#include "model.h"
#include <string.h>
static drawn_rows rows;
static _Alignas(16) uint8_t arena[DRAWN_ARENA_SIZE + 1];
static uint8_t in[DRAWN_INPUT0_SIZE], first[DRAWN_OUTPUT0_SIZE], out[DRAWN_OUTPUT0_SIZE];
int main(void) {
  for (int i = 0; i < (int)sizeof(in); i++) {
    in[i] = (uint8_t)(7 * i);
  }
  if (drawn_run(arena, sizeof(arena), in, first) != DRAWN_OK) return 1;
  if (drawn_push_row(NULL, arena, sizeof(arena), in, out) != DRAWN_ERROR_NULL) return 2;
  if (drawn_push_row(&rows, arena, sizeof(arena), NULL, out) != DRAWN_ERROR_NULL) return 3;
  if (drawn_push_row(&rows, arena, 1, in, out) != DRAWN_ERROR_ARENA_SIZE) return 4;
  for (int i = 0; i < 3; i++) { /* an image that is given up */
    if (drawn_push_row(&rows, arena, sizeof(arena), in, out) != DRAWN_MORE) return 5;
  }
  memset(&rows, 0, sizeof(rows));
  for (unsigned i = 0; i < DRAWN_ROW_COUNT; i++) {
    const int status = drawn_push_row(&rows, arena, sizeof(arena), in + i * DRAWN_ROW_SIZE, out);
    if (status != (i + 1 < DRAWN_ROW_COUNT ? DRAWN_MORE : DRAWN_OK)) return 6;
  }
  return memcmp(first, out, sizeof(out)) ? 7 : 0;
}
"""


def test_statuses_and_an_image_that_is_given_up(tmp_path: Path) -> None:
    """The interface as the generated README says it."""
    emit(_in_a_stream(block()), tmp_path, kernels=PORTABLE)
    assert "int status = drawn_push_row(&rows," in (tmp_path / "README.md").read_text("utf-8")
    main, program = tmp_path / "main.c", tmp_path / "main"
    main.write_text(MAIN, "utf-8")
    sources = [tmp_path / "model.c", tmp_path / "model_weights.c", main]
    compile_c("gcc", [*STRICT, *FLAGS], sources, program)
    assert subprocess.run([str(program)], check=False).returncode == 0
