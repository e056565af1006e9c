"""What bad input gets: a clear error, exit code 1, no traceback, no partial output."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.cli.conftest import DEMO, Result, Run

Words = list[object]
Make = Callable[[Path, Path], Words]


@dataclass(frozen=True)
class Case:
    """A command line that must fail: how to make it, and what the error must say."""

    name: str
    words: Make
    says: tuple[str, ...]


def _data(folder: Path, array: np.ndarray) -> Path:
    np.savez(folder / "bad.npz", image=array)
    return folder / "bad.npz"


def _images(count: int = 8) -> np.ndarray:
    return np.zeros((count, 1, 8, 8), np.float32)


def _compile(folder: Path, model: Path, *extra: object) -> Words:
    return ["compile", model, "--target", "x86-vnni", *extra, "-o", folder / "out"]


def _compile_with(array: Callable[[], np.ndarray]) -> Make:
    return lambda folder, build: _compile(
        folder, DEMO / "digits.onnx", "--calibration", _data(folder, array())
    )


def _at(array: np.ndarray, value: float) -> np.ndarray:
    array[5, 0, 2, 3] = value
    return array


def _cut(folder: Path, path: Path) -> Path:
    copy = folder / path.name
    copy.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return copy


def _foreign(folder: Path) -> Path:
    (folder / "foreign.qir").write_bytes(b"this is no graph" * 100)
    return folder / "foreign.qir"


def _model(folder: Path, kinds: list[str], *, inputs: tuple[str, ...] = ("x",)) -> Path:
    """A chain of operations on a 4 x 4 matrix."""
    names = ["x", *(f"v{i}" for i in range(len(kinds)))]
    nodes = [
        helper.make_node(kind, [names[i]], [names[i + 1]], name=f"node{i}")
        for i, kind in enumerate(kinds)
    ]
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4, 4]) for name in inputs]
    out = helper.make_tensor_value_info(names[-1], TensorProto.FLOAT, [4, 4])
    model = helper.make_model(
        helper.make_graph(nodes, "bad", info, [out]),
        opset_imports=[helper.make_opsetid("", 17)],
    )
    onnx.save(model, folder / "bad.onnx")
    return folder / "bad.onnx"


def _cyclic(folder: Path) -> Path:
    path = _model(folder, ["Relu", "Relu"])
    model = onnx.load(path)
    model.graph.node[0].input[0] = "v1"
    onnx.save(model, path)
    return path


def _misfit(folder: Path) -> Path:
    path = _model(folder, ["MatMul"])
    model = onnx.load(path)
    model.graph.node[0].input.append("w")
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((5, 4), np.float32), "w"))
    onnx.save(model, path)
    return path


def _without_external_data(folder: Path, location: str = "none.bin") -> Path:
    path = _model(folder, ["Relu"])
    model = onnx.load(path)
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4, 4])
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=location)
    model.graph.initializer.append(weight)
    model.graph.node.append(helper.make_node("Add", ["x", "w"], ["y"], name="add"))
    path.write_bytes(model.SerializeToString())
    return path


def _other_profile(folder: Path, build: Path) -> Words:
    from quantable.driver import api

    graph = api.canonicalize(api.import_model(_model(folder, ["Relu"])))
    data = np.ones((2, 4, 4), np.float32)
    api.save_profile(api.observe(graph, list(data)), folder / "other.qprof")
    return [
        "calibrate", build / "02-quantize.qir", "--profile", folder / "other.qprof",
        "-o", folder / "out",
    ]  # fmt: skip


def _vast_bias(folder: Path) -> Path:
    """A convolution whose bias no 32-bit integer holds at the scale of its product."""
    model = onnx.load(DEMO / "digits.onnx")
    for tensor in model.graph.initializer:
        if tensor.name == "classify.bias":
            values = np.full(tensor.dims, 3e30, np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    onnx.save(model, folder / "vast.onnx")
    return folder / "vast.onnx"


CASES = (
    Case("missing file", lambda f, b: ["import", f / "none.onnx", "-o", f / "out"],
         ("none.onnx", "no such file")),
    Case("missing graph", lambda f, b: ["lower", f / "none.qir", "-o", f / "out"], ("none.qir",)),
    Case("truncated graph", lambda f, b: ["lower", _cut(f, b / "04-opt.qir"), "-o", f / "out"],
         ("04-opt.qir",)),
    Case("foreign graph", lambda f, b: ["opt", _foreign(f), "--passes", "bake", "-o", f / "out"],
         ("foreign.qir",)),
    Case("profile for graph",
         lambda f, b: ["lower", b / "calibration.qprof", "-o", f / "out"], ("calibration.qprof",)),
    Case("truncated profile",
         lambda f, b: ["calibrate", b / "02-quantize.qir", "--profile",
                       _cut(f, b / "calibration.qprof"), "-o", f / "out"],
         ("calibration.qprof",)),
    Case("foreign model", lambda f, b: ["import", _foreign(f), "-o", f / "out"], ("foreign.qir",)),
    Case("truncated model",
         lambda f, b: ["import", _cut(f, DEMO / "digits.onnx"), "-o", f / "out"], ("digits.onnx",)),
    Case("invalid model", lambda f, b: ["import", _model(f, ["Relu"], inputs=()), "-o", f / "out"],
         ("bad.onnx",)),
    Case("cyclic model", lambda f, b: ["import", _cyclic(f), "-o", f / "out"], ("bad.onnx",)),
    Case("no external data",
         lambda f, b: ["import", _without_external_data(f), "-o", f / "out"], ("none.bin",)),
    Case("external data elsewhere",
         lambda f, b: ["import", _without_external_data(f, "../../x.bin"), "-o", f / "out"],
         ("../../x.bin",)),
    Case("shapes that do not fit",
         lambda f, b: ["import", _misfit(f), "-o", f / "out"],
         ("bad.onnx", "node 'node0' (MatMul)")),
    Case("frontend cannot",
         lambda f, b: ["import", _model(f, ["Relu", "StringNormalizer", "StringConcat"]),
                       "-o", f / "out"],
         ("node1", "node2")),
    Case("target cannot",
         lambda f, b: _compile(f, _model(f, ["Acosh", "Relu", "Asinh"]), "--calibration",
                               _data(f, _images())),
         ("node0", "node2")),
    Case("empty data", _compile_with(lambda: _images(0)), ("bad.npz", "no samples")),
    Case("wrong shape", _compile_with(lambda: np.zeros((8, 1, 9, 9), np.float32)),
         ("bad.npz, sample 0, input 'image'", "expected float32[N, 1, 8, 8]")),
    Case("wrong dtype", _compile_with(lambda: _images().astype(np.float64)),
         ("bad.npz", "found float64")),
    Case("NaN", _compile_with(lambda: _at(_images(), np.nan)),
         ("bad.npz, sample 5, input 'image'", "not finite", "[0, 0, 2, 3]")),
    Case("infinity", _compile_with(lambda: _at(_images(), np.inf)), ("sample 5", "not finite")),
    Case("no data", lambda f, b: _compile(f, DEMO / "digits.onnx"), ("--calibration",)),
    Case("missing data",
         lambda f, b: _compile(f, DEMO / "digits.onnx", "--calibration", f / "none.npz"),
         ("none.npz", "no such file")),
    Case("unknown pass",
         lambda f, b: ["opt", b / "00-import.qir", "--passes", "fold-batchnrom", "-o", f / "out"],
         ("fold-batchnrom", "^", "did you mean fold-batchnorm")),
    Case("unknown pass of a later stage",
         lambda f, b: _compile(f, f / "never-read.onnx", "--pipeline", "calibrate=calibrat",
                               "--profile", b / "calibration.qprof"),
         ("unknown pass 'calibrat'", "did you mean calibrate")),
    Case("unknown option of a pass",
         lambda f, b: ["opt", b / "02-quantize.qir", "--passes", 'calibrate{methd="kl"}', "-o",
                       f / "out"],
         ("methd", "did you mean method")),
    Case("unknown target",
         lambda f, b: ["quantize", b / "01-opt.qir", "--target", "x86-vnmi", "-o", f / "out"],
         ("x86-vnmi", "did you mean x86-vnni")),
    Case("another target",
         lambda f, b: ["lower", b / "04-opt.qir", "--target", "c-portable", "-o", f / "out"],
         ("expected" , "x86-vnni")),
    Case("unknown stage",
         lambda f, b: _compile(f, DEMO / "digits.onnx", "--pipeline", "calibrat=x",
                               "--profile", b / "calibration.qprof"),
         ("calibrat", "did you mean calibrate")),
    Case("unknown key of a recipe",
         lambda f, b: _compile(f, DEMO / "digits.onnx", "--recipe", _recipe(f)),
         ("recipe.toml", "did you mean scale")),
    Case("profile of another graph", _other_profile, ("graph",)),
    Case("vast bias",
         lambda f, b: _compile(f, _vast_bias(f), "--calibration", DEMO / "digits_calibration.npz",
                               "--recipe", DEMO / "digits.toml"),
         ("bias", "classify")),
    Case("wrong level", lambda f, b: ["lower", b / "01-opt.qir", "-o", f / "out"],
         ("expected a graph of level quantable, found float",)),
    Case("emit too early", lambda f, b: ["emit", b / "04-opt.qir", "-o", f / "out"],
         ("level planned, found quantable",)),
    Case("observe too late",
         lambda f, b: ["observe", b / "04-opt.qir", "--data", DEMO / "digits_test.npz", "-o",
                       f / "out"],
         ("only a float graph",)),
    Case("a file for a folder",
         lambda f, b: ["emit", b / "06-plan.qir", "-o", _recipe(f)],
         ("recipe.toml", "cannot be written to")),
    Case("a file for a build",
         lambda f, b: ["compile", DEMO / "digits.onnx", "--target", "x86-vnni", "--profile",
                       b / "calibration.qprof", "-o", _recipe(f)],
         ("recipe.toml", "is not a folder")),
    Case("a budget that is too small",
         lambda f, b: ["compile", DEMO / "digits.onnx", "--target", "cortex-m4", "--profile",
                       b / "calibration.qprof", "--arena-budget", "100B", "-o", f / "out"],
         ("/Add", "expected at most 100 bytes", "128 bytes of", "1 rows of it", "help:")),
    Case("a budget that is no size",
         lambda f, b: ["compile", DEMO / "digits.onnx", "--target", "cortex-m4", "--profile",
                       b / "calibration.qprof", "--arena-budget", "little", "-o", f / "out"],
         ("expected a size such as 22KB", "little")),
    Case("no folder to write to",
         lambda f, b: ["lower", b / "04-opt.qir", "-o", f / "none" / "out"], ("none",)),
)  # fmt: skip


def _recipe(folder: Path) -> Path:
    (folder / "recipe.toml").write_text("skale = 1\n")
    return folder / "recipe.toml"


def _is_kind(result: Result, case: Case) -> None:
    shown = result.err
    assert shown.startswith("error[E01") or "\nerror[E01" in shown, shown
    assert "Traceback" not in shown
    for text in case.says:
        assert text in shown, f"expected '{text}' in:\n{shown}"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_input_gets_a_clear_error(
    run: Run, build: Path, tmp_path: Path, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = case.words(tmp_path, build)
    before = sorted(tmp_path.rglob("*"))
    result = run(*words)
    assert result.code == 1, result.err
    _is_kind(result, case)
    assert sorted(tmp_path.rglob("*")) == before, "partial output"


def test_validate_sees_changed_code(run: Run, build: Path, tmp_path: Path) -> None:
    shutil.copytree(build, tmp_path / "build")
    source = tmp_path / "build/model_weights.c"
    text = source.read_text()
    digit = next(i for i in range(len(text) - 40, 0, -1) if text[i : i + 2] == " 1")
    source.write_text(f"{text[:digit]} 2{text[digit + 2 :]}")
    result = run("validate", tmp_path / "build", "--data", DEMO / "digits_test.npz", "--samples",
                 4, "--recipe", DEMO / "digits.toml")  # fmt: skip
    assert result.code == 1
    assert "changed or missing: model_weights.c" in result.out
    assert result.out.count("FAILED") >= 1


def test_verify_names_the_bad_file(run: Run, build: Path, tmp_path: Path) -> None:
    result = run("verify", build / "00-import.qir", _cut(tmp_path, build / "05-lower.qir"))
    assert result.code == 1
    lines = [line for line in result.out.splitlines() if ".qir" in line]
    assert "good" in lines[0]
    assert "good" not in lines[-1]


def test_a_fault_of_ours_is_exit_code_70(
    run: Run, build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from quantable.passes.refine.bake import Bake

    def crash(*_: object) -> None:
        raise RuntimeError("planted")

    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Bake, "run", crash)
        result = run("opt", build / "03-calibrate.qir", "--passes", "refine", "-o", "out.qir")
    assert result.code == 70
    assert "Traceback" in result.err
    (reproducer,) = tmp_path.iterdir()
    assert f"quantable opt {reproducer.name} --replay" in result.err
    assert run("opt", reproducer.name, "--replay").code == 0


def test_an_interrupt_is_said_without_a_traceback(
    run: Run, build: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("quantable.driver.api.load", interrupt)
    result = run("lower", build / "04-opt.qir", "-o", build / "never.qir")
    assert result.code == 130
    assert "interrupted" in result.err
    assert "Traceback" not in result.err
    assert not (build / "never.qir").exists()


def test_a_wrong_calibration_method_is_found_before_any_data_is_read(
    run: Run, tmp_path: Path
) -> None:
    result = run(
        "compile", DEMO / "digits.onnx", "--target", "x86-vnni", "--calibration", "none.npz",
        "--pipeline", 'calibrate=calibrate{method="mze"}', "-o", tmp_path / "build",
    )  # fmt: skip
    assert result.code == 1
    assert "unknown calibration method 'mze'" in result.err
    assert "did you mean mse?" in result.err
    assert "observe" not in result.err
    assert not (tmp_path / "build").exists()
