"""PyTorch networks in: the numbers of PyTorch, the names of modules, the same bytes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from quantable.driver import api
from quantable.driver.compile import Calibration, compile_model
from quantable.driver.operations import library_of
from quantable.driver.replay import replay_history
from quantable.driver.validate import validate
from quantable.ir import Graph, ModelError, OptionError, UserError
from tests.exporters import networks

NETWORKS = {
    "residual": (networks.resnet, "x=Nx3x16x16", torch.float32),
    "mobile": (lambda: networks.mobilenet()[0], "x=1x3x16x16", torch.float32),
    "encoder": (networks.Encoder, "x=1x5x16", torch.float32),
    "recurrent": (networks.Recurrent, "tokens=N,6:int64", torch.int64),
}

ROOT = Path(__file__).resolve().parents[2]
RUN = "from quantable.cli.main import run; run()"


def _data(shape: str, dtype: torch.dtype) -> Tensor:
    dims = shape.partition("=")[2].partition(":")[0].replace("x", ",").split(",")
    generator = torch.Generator().manual_seed(3)
    sizes = (12, *map(int, dims[1:]))
    if dtype is torch.int64:
        return torch.randint(0, 20, sizes, generator=generator)
    return torch.rand(sizes, generator=generator) * 2 - 1


def _results(net: nn.Module, data: Tensor) -> np.ndarray:
    with torch.inference_mode():
        return torch.cat([net(data[i : i + 1]) for i in range(len(data))]).numpy()


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_compute_what_pytorch_does(name: str, tmp_path: Path) -> None:
    make, shape, dtype = NETWORKS[name]
    torch.manual_seed(1)
    net = make().train()
    graph = api.import_module(net, [shape])
    assert all(module.training for module in net.modules()), "the user's module was changed"
    data = _data(shape, dtype)
    expected = _results(net.eval(), data)
    (found,) = api.run(graph, data.numpy()).values()
    assert np.abs(found - expected).max() <= 1e-6 * max(1.0, np.abs(expected).max())
    if name == "recurrent":  # no target has an integer form of LSTM
        return
    compile_model(
        graph, tmp_path / "build", target="c-portable", calibration=Calibration(data.numpy())
    )
    claims = validate(tmp_path / "build", data.numpy())
    assert all(claim.held for claim in claims)
    assert any("0 of" in claim.found for claim in claims)


def _named(graph: Graph) -> dict[str, str]:
    return {op.name: op.kind for op in graph.operations}


@pytest.mark.slow
def test_operations_have_the_paths_of_their_modules(net_py: str) -> None:
    graph = api.import_module(f"{net_py}:resnet", ["Nx3x16x16"], output_names=["scores"])
    named = _named(graph)
    assert named["layer1.0.conv1"] == named["layer1.1.shortcut"] == "Conv"
    assert (named["stem"], named["fc"], named["pool"]) == ("Conv", "Gemm", "ReduceMean")
    assert all(op.sources == (op.name,) for op in graph.operations)
    assert (graph.name, graph.inputs, graph.outputs) == ("ResNet", ("x",), ("scores",))
    assert graph.values["x"].shape == ("N", 3, 16, 16)
    (op,) = (op for op in graph.operations if op.name == "layer1.1.conv2")
    assert op.inputs[1] == "layer1.1.conv2.weight"


@pytest.mark.slow
def test_a_network_with_its_example_is_compiled_and_replayed_by_name(net_py: str) -> None:
    data = np.random.default_rng(0).uniform(-1, 1, (4, 3, 16, 16)).astype(np.float32)
    reference = f"{net_py}:mobilenet"
    done = compile_model(reference, "build", target="onnxruntime", calibration=Calibration(data))
    last = done.graphs[-1][1]
    redone = replay_history(last, model=reference, profile=done.profile)
    assert redone[0].stage == 'import{inputs=["x=1,3,16,16,:float32"]}'
    assert all(one.is_equal for one in redone)


@pytest.mark.slow
def test_a_user_operation_in_a_module_becomes_c(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs/examples/waveform-operations")
    library = library_of(["waveform_operations:OPERATIONS"])
    torch.manual_seed(1)
    net, data = networks.Periodic(), np.random.default_rng(0).normal(size=(12, 2, 32)).astype("f")
    graph = api.import_module(net, ["x=Nx2x32"], operations=library)
    assert graph.operation_by_name["snake"].kind == "com.example.waveform.Snake"
    (found,) = api.run(graph, data).values()
    assert np.abs(found - _results(net.eval(), torch.from_numpy(data))).max() < 1e-5
    compile_model(graph, tmp_path, target="c-portable", calibration=Calibration(data))
    claims = validate(tmp_path, data, operations=library)
    assert all(claim.held for claim in claims), claims


@pytest.mark.slow
def test_two_processes_make_the_same_bytes(net_py: str, tmp_path: Path) -> None:
    for seed, folder in (("0", "a"), ("4242", "b")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "net.py").write_bytes(Path(net_py).read_bytes())
        subprocess.run(
            [sys.executable, "-c", RUN, "import", "net.py:resnet", "--example", "net.py:images",
             "--dynamic", "x.0=batch", "-o", "net.qir"],
            cwd=tmp_path / folder, env={**os.environ, "PYTHONHASHSEED": seed}, check=True,
        )  # fmt: skip
    assert (tmp_path / "a/net.qir").read_bytes() == (tmp_path / "b/net.qir").read_bytes()
    assert api.load(tmp_path / "a/net.qir").values["x"].shape == ("batch", 3, 16, 16)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "shape", "where", "message"),
    [
        ("Undecided", "3x3", r"line \d+ of net.py", "torch.export cannot capture it for inputs x"),
        ("Spectral", "3x3", r"module 'inner' \(Eigenvalues\)", "No ONNX function found for .*eigh"),
        ("resnet", "1x4x16x16", r"module 'stem' \(Conv2d\)", "to have 3 channels, but got 4"),
    ],
)
def test_what_cannot_be_exported_is_named(
    net_py: str, name: str, shape: str, where: str, message: str
) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        api.import_module(f"{net_py}:{name}", [shape])
    assert caught.value.where.startswith(f"{net_py}:{name}: ")
    assert re.search(where, caught.value.where)


@pytest.mark.slow
def test_what_the_exporter_ignores_is_refused(net_py: str) -> None:
    for options, message in (
        ({"opset": 99}, "torch's exporter cannot write 99"),
        ({"output_names": ["a", "b"]}, "names of outputs: expected 1, found 2"),
    ):
        with pytest.raises(OptionError, match=message):
            api.import_module(f"{net_py}:ResNet", ["1x3x16x16"], **options)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (None, r"expected the shapes of its inputs \(x\), found nothing"),
        (["y=1x3x16x16"], "expected inputs x, found y in place 0"),
        (["1x3x16x16", "1x3"], "expected inputs x, found input_1 in place 1"),
        ({"z": np.zeros((1, 3, 16, 16))}, "expected inputs x, found z"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(inputs: object, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        api.import_module(networks.ResNet(), inputs)


def test_a_dimension_that_is_not_there_cannot_vary() -> None:
    with pytest.raises(OptionError, match=r"dynamic: expected inputs x .*found x\.4"):
        api.import_module(networks.ResNet(), [networks.images.numpy()], dynamic=["x.4=N"])


def test_a_missing_exporter_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(UserError, match=r"onnxscript is not installed") as caught:
        api.import_module(networks.ResNet(), ["1x3x16x16"])
    assert "quantable[pytorch]" in caught.value.help
