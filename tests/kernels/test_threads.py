"""Code that threads share gives the integers of the reference, whatever their number."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from quantable.adapters.c_compiler import STRICT, CompiledModel, compile_c
from quantable.backends.c import emit
from quantable.ir import DType, OptionError, UserError
from quantable.kernels import header
from quantable.reference import ReferenceRuntime
from quantable.targets.kernel_sets import KERNEL_SETS, PORTABLE, X86
from tests.kernels.conftest import VECTORS, Network

U8, I8, I16 = DType.UINT8, DType.INT8, DType.INT16
THREADED = [
    pytest.param(row, id=row.name, marks=() if row in (PORTABLE, X86) else pytest.mark.slow)
    for row in KERNEL_SETS.values()
    if row.has_threads
]
EVERY_STEP = ("-DQUANTABLE_SMALLEST_SHARED=1",)
"""Share all steps that can be, however small."""
AWAKE = ("-DQUANTABLE_PATIENCE=1",)
"""Wake threads for runs of any length."""
NATIVE = {X86.name: X86.flags[-1]}
"""What the compiler of this machine is told; code for others runs in plain C."""


def _conv(network, channels, size, kernel, depth=0):
    in_c, out_c = channels
    group = in_c if depth else 1
    out = [s - k + 1 for s, k in zip(size, kernel, strict=True)]
    shape = (out_c, in_c // group, *kernel)
    operands = (
        network.input(U8, [2, *size, in_c]),
        network.parameter(network.random.integers(-128, 128, shape), I8),
        network.parameter(network.random.integers(-5000, 5000, out_c), DType.INT32),
        network.parameter(network.multipliers(out_c, U8, 1e5), DType.FLOAT32),
    )
    network.apply(
        "int.Conv", operands, (U8, [2, *out, out_c]), x_zero_point=3, group=group, layout="NHWC",
        kernel_shape=kernel, strides=(1, 1), dilations=(1, 1), pads=(0,) * 4,
        **network.requantization(U8),
    )  # fmt: skip


def _elements(network):
    """Operations that are done element by element or row by row, of few and of many elements."""
    for count in (1, 2, 65, 1000):
        network.add_bytes(count, (16384, 9000))
        x = network.input(I8, (1, count))
        table = network.parameter(network.integers(I8, (256,)), I8)
        network.apply("int.Table", (x, table), (I8, (1, count)))
        wide = network.input(I16, (count, 3))
        network.apply(
            "int.Requantize", (wide,), (U8, (count, 3)), x_zero_point=-7, multiplier=0.01,
            **network.requantization(U8),
        )  # fmt: skip
    left, right = network.input(I8, (3, 5, 4)), network.input(I8, (5, 1))
    network.apply(
        "int.Mul", (left, right), (I8, (3, 5, 4)), a_zero_point=1, b_zero_point=2,
        multiplier=0.01, **network.requantization(I8),
    )  # fmt: skip


def _movement(network):
    x = network.input(U8, (2, 3, 5, 7))
    network.apply("Transpose", (x,), (U8, (2, 7, 3, 5)), perm=(0, 3, 1, 2))
    pads = network.parameter(np.array([0, 1, 2, 0, 0, 1, 0, 3]), DType.INT64)
    value = network.parameter(np.array(9), U8)
    network.apply("Pad", (x, pads, value), (U8, (2, 5, 7, 10)))
    pads = network.parameter(np.array([0, 1, 2, 0, 0, 1, 0, 0]), DType.INT64)
    network.apply("Pad", (x, pads, value), (U8, (2, 5, 7, 7)))
    network.apply("Concat", (x, x), (U8, (2, 6, 5, 7)), axis=1)


def _everything(network):
    for channels, size in itertools.product(((4, 70), (16, 16)), ((9, 21), (5, 3))):
        _conv(network, channels, size, (3, 3))
        _conv(network, channels, size, (1, 1))
    _conv(network, (70, 70), (9, 5), (3, 3), depth=1)
    x = network.input(U8, (2, 6, 9, 70))
    network.apply(
        "int.MaxPool", (x,), (U8, (2, 3, 4, 70)), layout="NHWC", kernel_shape=(2, 2),
        strides=(2, 2), dilations=(1, 1), pads=(0,) * 4,
    )  # fmt: skip
    network.apply(
        "int.ReduceMean", (x,), (U8, (2, 1, 1, 70)), axes=(1, 2), keepdims=1, x_zero_point=3,
        multiplier=0.02, **network.requantization(U8),
    )  # fmt: skip
    a, b = network.input(U8, (3, 11, 20)), network.input(U8, (3, 20, 70))
    network.apply(
        "int.MatMul", (a, b), (U8, (3, 11, 70)), a_zero_point=120, b_zero_point=7,
        multiplier=1e-4, **network.requantization(U8),
    )  # fmt: skip
    network.softmax(U8, U8, 7, 40, 0.05)
    network.layer_normalization(U8, U8, 7, 40)
    _elements(network)
    _movement(network)


def _demand_the_reference(model, graph, samples):
    found, reference = model.run(samples), ReferenceRuntime(graph)
    for vector in range(VECTORS):
        expected = reference.run({name: array[vector] for name, array in samples.items()})
        for name, array in expected.items():
            kind = graph.producers[name].kind
            np.testing.assert_array_equal(found[name][vector], array, f"{kind} {name}")


def _large_and_small(network):
    """A chain of steps that read each other's results, some of them too small to be shared."""
    count = 400_000
    network.add_bytes(count, (16384, 9000))
    last = "y0.0"
    for index in range(1, 10):
        count = count // 40_000 if index % 3 == 1 else count
        ends = [network.parameter(np.array([end]), DType.INT64) for end in (0, count, 1)]
        if index % 3 == 1:
            network.apply("Slice", (last, *ends), (U8, (1, count)))  # the first of a large one
        elif index % 3 == 2:
            network.apply("int.Table", (last, network.table(U8)), (U8, (1, count)))
        else:
            network.apply("Concat", (last, "y0.0"), (U8, (1, 400_000 + count)), axis=1)
            count += 400_000
        last = f"y{index}.0"


NETWORKS = {"everything": _everything, "chain": _large_and_small}
SIZES = {"small ones too": (*EVERY_STEP, *AWAKE), "large ones": AWAKE}
"""What steps are shared."""


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("made", NETWORKS)
@pytest.mark.parametrize("kernels", THREADED)
def test_results_do_not_depend_on_the_number_of_threads(tmp_path, kernels, made, size):
    network = Network(1)
    NETWORKS[made](network)
    graph, samples = network.graph(), network.samples()
    emit(graph, tmp_path, kernels=kernels)
    for threads, flag in ((2, NATIVE.get(kernels.name, "")), (5, "")):
        flags = ["-O1", *flag.split(), *SIZES[size]]
        _demand_the_reference(CompiledModel(tmp_path, flags=flags, threads=threads), graph, samples)


def _sanitized(folder, graph, samples, kernels, more, change=lambda text: text):
    """Run the self test with three threads, twice, under the thread sanitizer; return the end."""
    reference = ReferenceRuntime(graph)
    runs = [
        reference.run({name: array[v] for name, array in samples.items()}, outputs=graph.outputs)
        for v in range(2)
    ]
    golden = {name: np.stack([run[name] for run in runs]) for name in graph.outputs}
    golden |= {name: array[:2] for name, array in samples.items()}
    emit(graph, folder, golden=golden, kernels=kernels)
    model = folder / "model.c"
    model.write_text(change(model.read_text("utf-8")), encoding="utf-8")
    sources = [folder / name for name in ("model.c", "model_weights.c", "model_test.c")]
    flags = ["-O1", "-g", "-fsanitize=thread", "-DQUANTABLE_THREADS=3", "-pthread", *more]
    compile_c("gcc", [*STRICT, *flags], sources, folder / "model_test")
    return _without_a_fixed_layout(folder / "model_test")


def _without_a_fixed_layout(program):
    """Run a program: the sanitizer of gcc 12 does not know every kernel's layout of addresses."""
    fixed = shutil.which("setarch")
    command = [fixed, os.uname().machine, "-R", str(program)] if fixed else [str(program)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("made", NETWORKS)
@pytest.mark.parametrize("kernels", THREADED)
def test_no_two_threads_touch_the_same_byte(tmp_path, kernels, made, size):
    network = Network(1)
    NETWORKS[made](network)
    more = [*NATIVE.get(kernels.name, "").split(), *SIZES[size]]
    done = _sanitized(tmp_path, network.graph(), network.samples(), kernels, more)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("kernels", [PORTABLE, X86], ids=lambda row: row.name)
def test_the_sanitizer_sees_a_meeting_that_is_left_out(tmp_path, kernels):
    """The test above can fail: one thread does what follows while others are not there yet."""
    network = Network(1)
    _large_and_small(network)

    def change(text):
        before, meeting, behind = text.partition("  Q_MEET_BETWEEN(t, 3);\n")
        assert meeting
        return before + behind

    done = _sanitized(tmp_path, network.graph(), network.samples(), kernels, AWAKE, change)
    assert "data race" in done.stderr


def test_the_sanitizer_sees_a_share_that_is_taken_twice(tmp_path):
    """The test above can fail: with a share that is everything, threads write the same bytes."""
    network = Network(1)
    _elements(network)
    graph = network.graph()
    emit(graph, tmp_path, kernels=PORTABLE)
    share = tmp_path / "q_share.h"
    text = share.read_text("utf-8")
    broken = text.replace("count * share.part / share.parts", "count * 0")
    assert broken != text
    share.write_text(broken, encoding="utf-8")
    main = tmp_path / "main.c"
    tensors = [f"x{i}" for i in range(len(graph.inputs) + len(graph.outputs))]
    arguments = ", ".join(f"(void *){name}" for name in tensors)
    main.write_text(
        '#include "model.h"\n'
        + "".join(f"static unsigned char {name}[1 << 14];\n" for name in tensors)
        + "static q_threads threads;\nint main(void) {\n  q_threads_start(&threads, 3);\n"
        f"  const int status = network_run_threads(&threads, 0, 0, {arguments});\n"
        "  q_threads_stop(&threads);\n  return status;\n}\n",
        encoding="utf-8",
    )
    program = tmp_path / "main"
    sources = [tmp_path / name for name in ("model.c", "model_weights.c", "main.c")]
    flags = ["-std=c11", "-O1", "-g", "-fsanitize=thread", "-DQUANTABLE_THREADS=3", "-pthread"]
    compile_c("gcc", [*flags, *EVERY_STEP, *AWAKE], sources, program)
    assert "data race" in _without_a_fixed_layout(program).stderr


def test_many_runs_sleep_and_wake(tmp_path):
    """Threads fall asleep between runs and are woken, in two pools of one program."""
    network = Network(1)
    network.add_bytes(1000, (16384, 9000))
    graph, samples = network.graph(), network.samples()
    emit(graph, tmp_path, kernels=X86)
    pools = [
        CompiledModel(tmp_path, flags=["-O1", *EVERY_STEP], threads=threads) for threads in (2, 4)
    ]
    for _ in range(40):
        for model in pools:
            _demand_the_reference(model, graph, samples)


def test_shares_of_a_product_are_every_pair_once(tmp_path):
    """Rectangles of all threads together, for few and many rows, divided by either count."""
    (tmp_path / "share.c").write_text(
        '#include <stdio.h>\n#include "q_share.h"\nint main(void) {\n'
        "  for (int parts = 1; parts < 6; parts++) {\n"
        "    for (int by = 0; by < 2; by++) {\n"
        "      for (int n = 0; n < 9; n++) {\n"
        "        for (int m = 0; m < 9; m++) {\n"
        "          int seen[9][9] = {{0}}, wrong = 0;\n"
        "          for (int part = 0; part < parts; part++) {\n"
        "            const q_share share = {part, parts};\n"
        "            int count = 0;\n"
        "            for (q_cut cut = q_cut_of(share, n, m, by); q_cut_next(&cut);) {\n"
        "              wrong += ++count > 3;\n"
        "              for (ptrdiff_t i = cut.first.first; i < cut.first.last; i++) {\n"
        "                for (ptrdiff_t k = cut.second.first; k < cut.second.last; k++) {\n"
        "                  seen[i][k]++;\n"
        "                }\n"
        "              }\n"
        "            }\n"
        "          }\n"
        "          for (int i = 0; i < 9; i++) {\n"
        "            for (int k = 0; k < 9; k++) {\n"
        "              wrong += seen[i][k] != (i < n && k < m);\n"
        "            }\n"
        "          }\n"
        "          if (wrong) {\n"
        "            return 1;\n"
        "          }\n"
        "        }\n"
        "      }\n"
        "    }\n"
        "  }\n"
        "  return 0;\n}\n",
        encoding="utf-8",
    )
    for name in ("q_share.h", "q_threads.h"):
        (tmp_path / name).write_text(header(name), encoding="utf-8")
    flags = [*STRICT, "-O1", "-fsanitize=undefined", "-DQUANTABLE_THREADS=5", "-pthread"]
    compile_c("gcc", flags, [tmp_path / "share.c"], tmp_path / "share")
    assert subprocess.run([str(tmp_path / "share")], check=False).returncode == 0


def test_code_without_threads_is_told(tmp_path):
    network = Network(1)
    network.add_bytes(10, (16384, 9000))
    kernels = next(row for row in KERNEL_SETS.values() if not row.has_threads)
    emit(network.graph(), tmp_path, kernels=kernels)
    with pytest.raises(UserError, match="expected code that threads can share"):
        CompiledModel(tmp_path, threads=2)
    with pytest.raises(OptionError, match="threads: expected at least 1, found 0"):
        CompiledModel(tmp_path, threads=0)


def test_the_makefile_builds_with_threads(tmp_path):
    network = Network(1)
    network.add_bytes(100, (16384, 9000))
    graph, samples = network.graph(), network.samples()
    run = ReferenceRuntime(graph).run({name: array[0] for name, array in samples.items()})
    golden = {n: np.stack([a]) for n, a in run.items()} | {n: a[:1] for n, a in samples.items()}
    emit(graph, tmp_path, golden=golden, kernels=X86)
    command = ["make", "-s", "-C", str(tmp_path), "THREADS=2", "check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    symbols = subprocess.run(
        ["nm", str(tmp_path / "libnetwork.a")], capture_output=True, text=True, check=True
    ).stdout
    assert "network_run_threads" in symbols
    assert Path(tmp_path / "model_test").exists()
