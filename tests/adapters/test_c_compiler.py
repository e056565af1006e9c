"""The adapter that compiles emitted C: what it gives back, and what it refuses."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import numpy as np
import pytest

from quantable.adapters.c_compiler import CompiledModel, read_manifest, run_selftest
from quantable.backends.c import emit
from quantable.ir import (
    ContentStore,
    DataError,
    DType,
    FormatError,
    Graph,
    Level,
    MemoryPlan,
    Operation,
    UserError,
    Value,
)

CLANG = "clang-19" if shutil.which("clang-19") else "clang"
RANGE = {"clamp_min": 0, "clamp_max": 255}


@pytest.fixture
def emitted(tmp_path):
    """Code that negates: y = 250 - x on uint8, with a border in real numbers."""
    shapes = {"x": DType.FLOAT32, "xq": DType.UINT8, "yq": DType.UINT8, "y": DType.FLOAT32}
    store = ContentStore()
    values = {name: Value(name, dtype, (2, 3)) for name, dtype in shapes.items()}
    table = store.put(np.clip(250 - np.arange(256), 0, 255), DType.UINT8)
    values["table"] = Value("table", DType.UINT8, (256,))
    operations = (
        Operation("q", "int.Quantize", ("x",), ("xq",), {"scale": 0.5, "zero_point": 10, **RANGE}),
        Operation("t", "int.Table", ("xq", "table"), ("yq",)),
        Operation("d", "int.Dequantize", ("yq",), ("y",), {"scale": 0.5, "zero_point": 240}),
    )
    graph = Graph(
        "negate", Level.PLANNED, 21, ("x",), ("y",), values, operations, {"table": table},
        plan=MemoryPlan(0, 16, {}), store=store,
    )  # fmt: skip
    emit(graph, tmp_path / "build")
    return tmp_path / "build"


def test_runs_one_sample_and_batches(emitted):
    model = CompiledModel(emitted)
    batch = np.arange(30, dtype=np.uint8).reshape(5, 2, 3)
    np.testing.assert_array_equal(model.run({"xq": batch})["yq"], 250 - batch)
    one = model.run({"xq": batch[4]})["yq"]
    assert one.shape == (2, 3)
    np.testing.assert_array_equal(one, 250 - batch[4])
    strided = np.repeat(batch, 2, axis=2)[:, :, ::2]
    np.testing.assert_array_equal(model.run({"xq": strided})["yq"], 250 - batch)


def test_runs_real_numbers(emitted):
    model = CompiledModel(emitted, flags=("-O0",))
    real = np.array([[0.0, 0.5, -0.5], [0.25, 0.75, 3.0]], np.float32)
    expected = [[0.0, -0.5, 0.5], [0.0, -1.0, -3.0]]
    np.testing.assert_array_equal(model.run_real({"x": real})["y"], np.float32(expected))


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "is missing"),
        ({"xq": np.zeros((2, 3), np.int8)}, "expected uint8"),
        ({"xq": np.zeros((3, 2), np.uint8)}, "found uint8"),
        ({"xq": np.zeros((4, 3, 2), np.uint8)}, "found uint8"),
    ],
)
def test_refuses_inputs_that_do_not_fit(emitted, inputs, message):
    with pytest.raises(DataError, match=message):
        CompiledModel(emitted).run(inputs)


def test_a_missing_compiler_is_the_users_to_install(emitted):
    with pytest.raises(UserError, match="no C compiler 'no-such-cc'") as caught:
        CompiledModel(emitted, compiler="no-such-cc")
    assert "install one" in caught.value.help


def test_what_the_compiler_says_is_shown(emitted):
    (emitted / "model.c").write_text("#error broken by hand\n")
    with pytest.raises(UserError, match="broken by hand"):
        CompiledModel(emitted)


def test_code_without_vectors_has_no_self_test(emitted):
    with pytest.raises(UserError, match=r"no model_test\.c"):
        run_selftest(emitted)


def test_a_foreign_directory_is_refused(emitted, tmp_path):
    with pytest.raises(FormatError, match=r"found no manifest\.json"):
        CompiledModel(tmp_path)
    (emitted / "manifest.json").write_text(json.dumps({"format": "quantable-onnx"}))
    with pytest.raises(FormatError, match="expected format quantable-c"):
        read_manifest(emitted)
    (emitted / "manifest.json").write_text("{")
    with pytest.raises(FormatError, match="not valid JSON"):
        read_manifest(emitted)
    (emitted / "manifest.json").write_text("[]")
    with pytest.raises(FormatError, match="expected format"):
        read_manifest(emitted)


def test_nothing_is_left_behind(emitted, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    model = CompiledModel(emitted)
    assert len(list((tmp_path / "scratch").iterdir())) == 1
    del model
    assert list((tmp_path / "scratch").iterdir()) == []


@pytest.mark.parametrize("compiler", ["gcc", CLANG])
@pytest.mark.parametrize("vectors", ["-mno-avx", "-march=native"])
def test_a_real_network_passes_its_self_test_under_sanitizers(build, compiler, vectors):
    """With the kernels of this machine, and with plain C over the same constants."""
    flags = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", vectors)
    if not _has_sanitizers(compiler, flags):
        pytest.skip(f"no sanitizers of {compiler} on this machine")
    passed, printed = run_selftest(build, compiler=compiler, flags=flags)
    assert passed, printed


def _has_sanitizers(compiler, flags):
    if shutil.which(compiler) is None:
        return False
    command = [compiler, *flags, "-x", "c", "-", "-o", os.devnull]
    program = b"int main(void) { return 0; }"
    return not subprocess.run(command, input=program, capture_output=True).returncode
