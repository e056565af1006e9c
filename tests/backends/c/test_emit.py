"""Emitted code: compilers, sanitizers, arena, names, determinism, refusals."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest

from quantable.adapters.c_compiler import STRICT, CompiledModel, run_selftest
from quantable.backends.c import emit
from quantable.backends.registry import BACKENDS, backend
from quantable.ir import (
    DataError,
    Level,
    Operation,
    OptionError,
    UnknownNameError,
    UnsupportedError,
)

CLANG = "clang-19" if shutil.which("clang-19") else "clang"
needs_clang = pytest.mark.skipif(shutil.which(CLANG) is None, reason="no clang on this machine")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def has_sanitizers(compiler: str, flags: tuple[str, ...] = SANITIZERS) -> bool:
    """Tell whether a compiler has what its sanitizers link, which is a package apart."""
    if shutil.which(compiler) is None:
        return False
    command = [compiler, *flags, "-x", "c", "-", "-o", os.devnull]
    program = "int main(void) { return 0; }"
    return not subprocess.run(command, input=program.encode(), capture_output=True).returncode


def needs_sanitizers(compiler: str) -> pytest.MarkDecorator:
    """Skip where a compiler is missing, or has no sanitizers."""
    return pytest.mark.skipif(
        not has_sanitizers(compiler), reason=f"no sanitizers of {compiler} on this machine"
    )


STRICTER = ("-Wshadow", "-Wstrict-prototypes", "-Wmissing-prototypes", "-Wcast-qual", "-Wvla")
VARIANTS = [
    pytest.param("gcc", ("-O2",), id="gcc-O2"),
    pytest.param("gcc", ("-O3", "-march=native"), id="gcc-O3-native"),
    pytest.param("gcc", ("-O0", *STRICTER), id="gcc-O0-stricter"),
    pytest.param("gcc", ("-O1", "-g", *SANITIZERS), id="gcc-sanitizers",
                 marks=needs_sanitizers("gcc")),
    pytest.param(CLANG, ("-O2", *STRICTER), id="clang-O2", marks=needs_clang),
    pytest.param(CLANG, ("-O1", "-g", *SANITIZERS), id="clang-sanitizers",
                 marks=needs_sanitizers(CLANG)),
]  # fmt: skip


@pytest.mark.parametrize(("compiler", "flags"), VARIANTS)
def test_self_test_passes(graph, golden, tmp_path, compiler, flags):
    emit(graph, tmp_path, golden=golden)
    assert run_selftest(tmp_path, compiler=compiler, flags=flags) == (
        True, "self test passed: 3 vectors\n",
    )  # fmt: skip


def test_self_test_finds_a_corrupted_weight(graph, golden, tmp_path):
    emit(graph, tmp_path, golden=golden)
    weights = tmp_path / "model_weights.c"
    lines = weights.read_text().splitlines()
    row = next(i for i, line in enumerate(lines) if "small_weight_4" in line) + 1
    first, rest = lines[row].split(",", 1)
    lines[row] = f"  {int(first) ^ 64},{rest}"
    weights.write_text("\n".join(lines) + "\n")
    passed, printed = run_selftest(tmp_path)
    assert not passed
    assert "output 0, element 0: expected" in printed


def test_self_test_finds_a_corrupted_expectation(graph, golden, tmp_path):
    golden["r"][2, 0, 1, 1, 1] ^= 1
    emit(graph, tmp_path, golden=golden)
    passed, printed = run_selftest(tmp_path)
    assert not passed
    assert printed.startswith("vector 2, output 1, element 73: expected")


def test_fast_math_is_refused(graph, golden, tmp_path):
    from quantable.ir import UserError

    emit(graph, tmp_path, golden=golden)
    with pytest.raises(UserError, match="rounding must be exact"):
        CompiledModel(tmp_path, flags=("-O2", "-ffast-math"))


def test_make_and_its_self_test(graph, golden, tmp_path):
    emit(graph, tmp_path, golden=golden)
    done = subprocess.run(["make", "-s", "check"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("self test passed: 3 vectors\n")


@pytest.mark.parametrize("name", ["small", "all", "test", "m"])
def test_cmake(graph_named, golden_of, tmp_path, name):
    if shutil.which("cmake") is None:
        pytest.skip("no cmake on this machine")
    graph = graph_named(name)
    emit(graph, tmp_path, golden=golden_of(graph, 1))
    for command in (("cmake", "-S", ".", "-B", "b"), ("cmake", "--build", "b")):
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    subprocess.run([f"./{name}_model_test"], cwd=tmp_path / "b", check=True, capture_output=True)
    assert (tmp_path / "b" / f"lib{name}.a").is_file()


HOSTILE = (
    'x */ int evil; /* "\\',
    "a\nb\r\n#error newline",
    "net??/\n*/ //",
    "12/layer:0;1 é 日本",
    "*/",
    "q_conv",
    "\"); system(\"",
    "",
)  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_in_comments_and_strings(graph_named, golden_of, tmp_path, name):
    graph = graph_named(name, prefix=name)
    emit(graph, tmp_path, golden=golden_of(graph, 1))
    assert run_selftest(tmp_path, flags=("-O0", *STRICTER))[0]
    for path in tmp_path.iterdir():
        if path.suffix in (".c", ".h") or path.name in ("Makefile", "CMakeLists.txt"):
            assert path.read_bytes().isascii()
    assert json.loads((tmp_path / "manifest.json").read_text())["name"] == name


def test_header_serves_cpp_and_names_the_network(graph_named, tmp_path):
    if shutil.which("g++") is None:
        pytest.skip("no g++ on this machine")
    emit(graph_named('a"b\\é'), tmp_path)
    (tmp_path / "use.cc").write_text(
        '#include "model.h"\n#include <cstdio>\n'
        "int main() { std::puts(A_B_NAME); return A_B_INPUT0_SCALE == 0.02f ? 0 : 1; }\n"
    )
    strict = ["-std=c++98", "-Wall", "-Wextra", "-Werror", "use.cc", "-o", "use"]
    subprocess.run(["g++", *strict], cwd=tmp_path, check=True)
    done = subprocess.run(["./use"], cwd=tmp_path, check=True, capture_output=True)
    assert done.stdout.decode() == 'a"b\\é\n'


def test_two_networks_link_into_one_program(graph_named, golden_of, tmp_path):
    sources = []
    for name in ("one", "two"):
        graph = graph_named(name, seed=len(sources))
        emit(graph, tmp_path / name, golden=golden_of(graph))
        sources += [f"{name}/model.c", f"{name}/model_weights.c", f"{name}/model_test.c"]
    (tmp_path / "main.c").write_text(
        '#include "one/model.h"\n#include "two/model.h"\n'
        "static _Alignas(16) unsigned char arena[ONE_ARENA_SIZE + TWO_ARENA_SIZE];\n"
        "int main(void) { return one_selftest(arena, sizeof arena) != 0\n"
        "                     || two_selftest(arena, sizeof arena) != 0; }\n"
    )
    command = ["gcc", *STRICT, "-DQUANTABLE_NO_MAIN", "main.c", *sources, "-o", "both", "-lm"]
    subprocess.run(command, cwd=tmp_path, check=True)
    subprocess.run(["./both"], cwd=tmp_path, check=True)


def _contents(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_bytes_are_the_same_again_and_elsewhere(graph_named, golden, tmp_path):
    found = []
    for folder in ("a", "deep/er"):
        emit(graph_named(), tmp_path / folder, golden=golden)
        found.append(_contents(tmp_path / folder))
    assert found[0] == found[1]
    assert not any(str(tmp_path).encode() in text for text in found[0].values())
    assert set(found[0]) == set(json.loads(found[0]["manifest.json"])["files"])


def test_emission_replaces_and_leaves_no_trace_when_it_fails(graph, golden, tmp_path):
    emit(graph, tmp_path, golden=golden)
    (tmp_path / "notes.txt").write_text("mine")
    emit(graph, tmp_path)
    before = _contents(tmp_path)
    assert "notes.txt" in before
    assert "model_test.c" not in before
    with pytest.raises(DataError):
        emit(graph, tmp_path, golden={"xq": golden["xq"]})
    assert before == _contents(tmp_path)


def _library_call(tmp_path, arena_address, size, golden, vector=0):
    """Call the run function directly, with results, at any arena address."""
    library = tmp_path / "libsmall.so"
    sources = [str(tmp_path / name) for name in ("model.c", "model_weights.c")]
    subprocess.run(
        ["gcc", *STRICT, "-O2", "-shared", "-fPIC", *sources, "-o", str(library)], check=True
    )
    run = ctypes.CDLL(str(library)).small_run
    outputs = [np.zeros((1, 4), np.int16), np.zeros((1, 5, 8, 8), np.uint8)]
    arrays = [golden["xq"][vector : vector + 1], *outputs]
    pointers = [ctypes.c_void_p(array.ctypes.data) for array in arrays]
    status = run(ctypes.c_void_p(arena_address), ctypes.c_size_t(size), *pointers)
    return status, outputs


def test_arena_is_exact_and_nothing_else_is_written(graph, golden, tmp_path):
    emit(graph, tmp_path)
    room = np.full(4096, 0xA5, np.uint8)
    start = -room.ctypes.data % 16 + 64
    status, (y, r) = _library_call(tmp_path, room.ctypes.data + start, 640, golden)
    assert status == 0
    np.testing.assert_array_equal(y, golden["yq"][0])
    np.testing.assert_array_equal(r, golden["r"][0])
    assert (room[:start] == 0xA5).all()
    assert (room[start + 640 :] == 0xA5).all()
    assert (room[start : start + 640] != 0xA5).any()


@pytest.mark.parametrize(
    ("offset", "size", "status"), [(None, 640, -1), (0, 639, -2), (8, 640, -3)]
)
def test_a_wrong_arena_is_refused(graph, golden, tmp_path, offset, size, status):
    emit(graph, tmp_path)
    room = np.zeros(4096, np.uint8)
    address = 0 if offset is None else room.ctypes.data + (-room.ctypes.data % 16) + offset
    assert _library_call(tmp_path, address, size, golden)[0] == status


def test_conversions_equal_the_reference(graph, tmp_path):
    """Ties, the ends of the range, infinities."""
    from quantable.reference import ReferenceRuntime

    emit(graph, tmp_path)
    model = CompiledModel(tmp_path)
    library = model.library
    library.small_quantize_in0.argtypes = [ctypes.c_float]
    library.small_quantize_in0.restype = ctypes.c_uint8
    library.small_dequantize_out0.argtypes = [ctypes.c_int16]
    library.small_dequantize_out0.restype = ctypes.c_float
    steps = np.arange(-120, 120, dtype=np.float64) * 0.01
    real = np.resize(np.append(steps, [1e30, -1e30, np.inf]), (1, 5, 8, 3)).astype(np.float32)
    expected = ReferenceRuntime(graph).run({"x": np.nan_to_num(real, posinf=3e38)}, ["xq"])["xq"]
    found = [library.small_quantize_in0(v) for v in real.reshape(-1).tolist()]
    np.testing.assert_array_equal(found, expected.reshape(-1))
    np.testing.assert_array_equal(model.inputs[0].quantize(real), expected)
    assert library.small_quantize_in0(float("nan")) == 0
    for q in (-32768, -1, 0, 7, 32767):
        assert library.small_dequantize_out0(q) == np.float32(q) * np.float32(0.001)


def test_a_graph_of_another_level_is_refused(graph, tmp_path):
    with pytest.raises(OptionError, match="expected level planned, found integer"):
        emit(replace(graph, level=Level.INTEGER, plan=None), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_every_unsupported_operation_is_listed(graph, tmp_path):
    strange = [
        Operation(op.name, "int.Nothing", op.inputs, op.outputs, {}, op.sources)
        if op.kind in ("int.Add", "int.Requantize")
        else op
        for op in graph.operations
    ]
    with pytest.raises(UnsupportedError, match="2 operations") as caught:
        emit(replace(graph, operations=tuple(strange)), tmp_path)
    assert "operation 'add' (int.Nothing from node)" in str(caught.value)
    assert "operation 'rescale'" in str(caught.value)


def test_registry():
    assert list(BACKENDS) == ["c", "onnx"]
    assert all(callable(backend(name).emit) for name in BACKENDS)
    with pytest.raises(UnknownNameError, match="unknown backend 'onxx'"):
        backend("onxx")
