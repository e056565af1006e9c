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
from quantable.reference import ReferenceRuntime
from quantable.targets.kernel_sets import KERNEL_SETS, PORTABLE, X86
from tests.kernels.conftest import VECTORS, Network

U8, I8, I16 = DType.UINT8, DType.INT8, DType.INT16
THREADED = [
    pytest.param(row, id=row.name, marks=() if row in (PORTABLE, X86) else pytest.mark.slow)
    for row in KERNEL_SETS.values()
    if row.has_threads
]
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


@pytest.mark.parametrize("kernels", THREADED)
def test_results_do_not_depend_on_the_number_of_threads(tmp_path, kernels):
    network = Network(1)
    _everything(network)
    graph, samples = network.graph(), network.samples()
    emit(graph, tmp_path, kernels=kernels)
    for threads, flag in ((2, NATIVE.get(kernels.name, "")), (5, "")):
        model = CompiledModel(tmp_path, flags=["-O1", *flag.split()], threads=threads)
        _demand_the_reference(model, graph, samples)


@pytest.mark.parametrize("kernels", THREADED)
def test_no_two_threads_touch_the_same_byte(tmp_path, kernels):
    """The thread sanitizer watches a program that runs everything with three threads, twice."""
    network = Network(1)
    _everything(network)
    graph, samples = network.graph(), network.samples()
    reference = ReferenceRuntime(graph)
    runs = [
        reference.run({name: array[v] for name, array in samples.items()}, outputs=graph.outputs)
        for v in range(2)
    ]
    golden = {name: np.stack([run[name] for run in runs]) for name in graph.outputs}
    golden |= {name: array[:2] for name, array in samples.items()}
    emit(graph, tmp_path, golden=golden, kernels=kernels)
    sources = [tmp_path / name for name in ("model.c", "model_weights.c", "model_test.c")]
    flags = ["-O1", "-g", "-fsanitize=thread", "-DQUANTABLE_THREADS=3", "-pthread"]
    program = tmp_path / "model_test"
    compile_c("gcc", [*STRICT, *flags, *NATIVE.get(kernels.name, "").split()], sources, program)
    # Without a fixed layout of addresses: the sanitizer of gcc 12 does not know every kernel's.
    fixed = shutil.which("setarch")
    command = [fixed, os.uname().machine, "-R", str(program)] if fixed else [str(program)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


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
    compile_c("gcc", flags, sources, program)
    fixed = shutil.which("setarch")
    command = [fixed, os.uname().machine, "-R", str(program)] if fixed else [str(program)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "data race" in done.stderr


def test_many_runs_sleep_and_wake(tmp_path):
    """Threads fall asleep between runs and are woken, in two pools of one program."""
    network = Network(1)
    network.add_bytes(1000, (16384, 9000))
    graph, samples = network.graph(), network.samples()
    emit(graph, tmp_path, kernels=X86)
    pools = [CompiledModel(tmp_path, flags=["-O1"], threads=threads) for threads in (2, 4)]
    for _ in range(40):
        for model in pools:
            _demand_the_reference(model, graph, samples)


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
