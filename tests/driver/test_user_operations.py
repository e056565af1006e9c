"""User operations from an installed package: every stage, both backends, and what is missing."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from quantable.driver import api
from quantable.driver.bisect.task import bisect_task
from quantable.driver.compare import compare
from quantable.driver.compile import Calibration, Compilation, compile_model
from quantable.driver.replay import replay_history
from quantable.driver.validate import Claim, validate
from quantable.ir import (
    Graph,
    QuantableOperation,
    UnsupportedError,
    UserError,
    graph_digest,
    verify,
)
from quantable.ir.diff import diff_graphs
from quantable.schema import load
from quantable.text.parser import parse_graph
from quantable.text.printer import print_graph
from tests.driver import waveform


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the installed package."""
    pytest.importorskip("hatchling", reason="hatchling builds the package")
    return waveform.install(tmp_path_factory.mktemp("waveform"))


@pytest.fixture
def installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The package in the path of this process."""
    monkeypatch.syspath_prepend(site)
    yield site
    for name in [name for name in sys.modules if name.startswith("waveform_operations")]:
        del sys.modules[name]
    importlib.invalidate_caches()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return waveform.write_network(tmp_path_factory.mktemp("model") / "wave.onnx", b=2.0)


def _compiled(model: Path, folder: Path, target: str) -> Compilation:
    return compile_model(model, folder, target=target, calibration=Calibration(waveform.waves()))


def _noise_db(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10((a**2).mean() / ((a - b) ** 2).mean()))


def _float_results(x: np.ndarray, graph: Graph) -> np.ndarray:
    """The network in NumPy."""
    held = {name: graph.array(name).astype(np.float64) for name in graph.parameters}

    def conv(x: np.ndarray, w: np.ndarray, pad: int) -> np.ndarray:
        x = np.pad(x, ((0, 0), (0, 0), (pad, pad)))
        windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[2], axis=2)
        return np.einsum("nclk,ock->nol", windows, w)

    def snake(x: np.ndarray, alpha: np.ndarray) -> np.ndarray:
        alpha = alpha.reshape(1, -1, 1)
        return x + np.sin(alpha * x) ** 2 / alpha

    y = snake(conv(x, held["w1"], 2) + held["b1"].reshape(1, -1, 1), held["alpha"])
    y = conv(y, held["w2"], 1)
    y = (y + np.sqrt(y * y + 2.0)) / 2
    return snake(y[..., 2:] - y[..., :-2], held["beta"])


def test_an_installed_package_is_found_and_computes(installed: Path, model: Path) -> None:
    graph = api.import_model(model)
    assert graph.values["y"].shape == ("N", 8, 30)
    snake = graph.operation_by_name["snake"]
    assert (snake.kind, dict(snake.attributes)) == (waveform.KINDS[1], {"axis": 1})
    x = waveform.waves()
    (found,) = api.run(graph, x).values()
    assert np.allclose(found, _float_results(x, graph), atol=1e-5)
    for kind in waveform.KINDS:
        assert graph.metadata[f"operation.{kind}"].startswith("waveform-operations 1.2 ")


def test_c_of_user_operations_equals_the_reference(
    installed: Path, model: Path, tmp_path: Path
) -> None:
    done = _compiled(model, tmp_path, "c-portable")
    kinds = [op.kind for op in done.graphs[-1][1].operations]
    assert kinds.count("int.com.example.waveform.Snake") == 2
    assert "int.InterpolatedTable" in kinds
    assert kinds.count("Transpose") == 2, "the kernel works in any layout: only the borders are"
    claims = validate(tmp_path, waveform.waves())
    assert all(claim.held for claim in claims)
    assert any(re.match("0 of 2880 elements differ", claim.found) for claim in claims)
    graphs = dict(done.graphs)
    x = waveform.waves()
    real, integers = (api.run(graphs[f], x)["y"] for f in ("00-import.qir", "06-plan.qir"))
    assert _noise_db(real, integers) > 30
    simulated = compare(tmp_path / "04-opt.qir", tmp_path / "05-lower.qir", x, threshold_db=30)
    assert simulated.first is None
    redone = replay_history(graphs["06-plan.qir"], model=model, profile=done.profile)
    assert all(one.is_equal for one in redone)


def test_onnx_keeps_user_operations_between_quantizers(installed: Path, tmp_path: Path) -> None:
    model = waveform.write_network(tmp_path / "wave.onnx", b=2.0)
    done = _compiled(model, tmp_path / "build", "onnxruntime")
    snake = done.graphs[-1][1].operation_by_name["snake"]
    assert isinstance(snake, QuantableOperation)
    assert [config.is_quantized for config in snake.config.inputs] == [True, False]
    again = api.import_model(tmp_path / "build/model.onnx")
    assert [op.kind for op in again.operations if op.kind in waveform.KINDS] == [
        waveform.KINDS[i] for i in (1, 2, 0, 1)
    ]
    x = waveform.waves()
    assert np.array_equal(api.run(again, x)["y"], api.run(done.graphs[-1][1], x)["y"])
    claims = {claim.name: claim for claim in validate(tmp_path / "build", x)}
    unchecked = claims["ONNX Runtime equals simulation up to float32 rounding"]
    assert not unchecked.held
    assert unchecked.found.startswith("not checked: ONNX Runtime has no com.example.waveform.Cent")
    assert "--custom-ops" in unchecked.found
    pytest.importorskip("onnxruntime", reason="ONNX Runtime loads the library")
    with pytest.raises(UserError, match="cannot use it as a library of operations"):
        validate(tmp_path / "build", x, custom_ops=[model])


@pytest.fixture(scope="module")
def build(
    site: Path, model: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Compilation]:
    """A compiled network, made while the package was installed."""
    folder = tmp_path_factory.mktemp("build")
    sys.path.insert(0, str(site))
    try:
        return folder, _compiled(model, folder, "c-portable")
    finally:
        sys.path.remove(str(site))
        for name in [name for name in sys.modules if name.startswith("waveform_operations")]:
            del sys.modules[name]


def test_without_the_package_files_are_read_and_executing_names_it(
    build: tuple[Path, Compilation], model: Path
) -> None:
    folder, done = build
    message = r"expected operation package waveform-operations 1\.2, found none"
    for file, made in done.graphs:
        graph = api.load(folder / file)
        verify(graph)
        assert diff_graphs(graph, load(folder / file)).is_same
        text = print_graph(graph, elide=1 << 30, history=True)
        assert graph_digest(parse_graph(text)) == graph_digest(made)
        with pytest.raises(UserError, match=message) as caught:
            api.run(graph, waveform.waves())
        assert "pip install waveform-operations==1.2" in caught.value.help
        with pytest.raises(UserError, match=message):
            replay_history(graph, model=model)
    with pytest.raises(UserError, match=message):
        api.emit(api.load(folder / "06-plan.qir"), folder / "again")
    with pytest.raises(UserError, match=message):
        api.lower(api.load(folder / "04-opt.qir"))


def test_a_model_without_the_package_says_how_to_register_it(model: Path) -> None:
    with pytest.raises(
        UnsupportedError, match=r"node 'snake' \(com\.example\.waveform\.Snake\)"
    ) as e:
        api.import_model(model)
    assert "entry point 'quantable.operations', or by --operations FILE.py" in str(e.value)


def test_another_version_of_the_package_is_told_from_the_recorded_one(
    build: tuple[Path, Compilation], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = build
    other = waveform.install(tmp_path, version="1.3")
    monkeypatch.syspath_prepend(other)
    try:
        graph = api.load(folder / "00-import.qir")
        message = (
            "expected operation package waveform-operations 1.2, found waveform-operations 1.3"
        )
        with pytest.raises(UserError, match=message):
            api.run(graph, waveform.waves())
    finally:
        for name in [name for name in sys.modules if name.startswith("waveform_operations")]:
            del sys.modules[name]


def test_a_version_of_the_domain_that_no_definition_has_is_refused(
    installed: Path, tmp_path: Path
) -> None:
    model = waveform.write_network(tmp_path / "wave.onnx", version=3)
    with pytest.raises(
        UnsupportedError, match=r"version 3 of its domain: waveform-operations 1\.2 has 1"
    ):
        api.import_model(model)
    model = waveform.write_network(tmp_path / "wave.onnx", c=2.0)
    with pytest.raises(UnsupportedError, match=r"attributes missing: \[\], unknown: \['c'\]"):
        api.import_model(model)


@pytest.mark.slow
def test_bisection_runs_passes_on_user_operations(installed: Path, model: Path) -> None:
    graph = api.import_model(model)

    def is_float(candidate: Graph) -> bool:
        return all(op.kind != "int.com.example.waveform.Snake" for op in candidate.operations)

    profile = api.observe(api.canonicalize(graph), waveform.waves())
    canonical = api.canonicalize(graph)
    refined = api.refine(api.calibrate(api.quantize(canonical, "c-portable"), profile))
    found = bisect_task(refined, "lower").run(is_float)
    assert found.suspects == ("lower-to-integer",)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["x86-vnni", "c-q31-double", "c-w4a4"])
def test_every_kind_of_c_target_takes_user_operations(
    installed: Path, model: Path, tmp_path: Path, target: str
) -> None:
    _compiled(model, tmp_path, target)
    claims: list[Claim] = validate(tmp_path, waveform.waves())
    assert all(claim.held for claim in claims), claims
