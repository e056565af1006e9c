"""Files of other tools: of real networks (slow), and the page about them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from quantable.bench.datasets import DEFAULT_SHARED, NETWORKS
from quantable.bench.quantized_networks.__main__ import RAW, _prepare
from quantable.bench.quantized_networks.measure import measure
from quantable.bench.quantized_networks.page import page
from quantable.bench.quantized_networks.tools import TOOLS, Make, static_tool
from quantable.driver import api
from quantable.driver.compile import Calibration, Compilation, compile_model
from quantable.driver.validate import validate
from quantable.passes.quantize.adopted_rows import is_adopted

COUNTS = {"differing": 0, "elements": 40, "largest": 0.0}
FACTS: dict[str, Any] = {
    "adopted": True, "operations": 16, "rows": 35, "baked": 20, "left": 1,
    "reasons": {"stays an operation: it is computed": 1}, "import": COUNTS,
    "reference": {**COUNTS, "differing": 3, "causes": {"equal": 3, "unexplained": 1}},
    "trip": COUNTS, "fast-trip": COUNTS, "canonical": COUNTS, "fast": {**COUNTS, "differing": 7},
    "unfused": COUNTS, "integer": {"refused": "no", "places": 4, "completed": {"sqnr": 41.5}},
    "diff": {"relus": 7, "operations": {"Add": 1}, "slots": 2, "fields": {"scale": 2}},
}  # fmt: skip


def test_the_page_shows_what_was_found() -> None:
    facts = {"net ort-u8s8": FACTS, "net nncf": {"failed": "ValueError: no"}}
    about = {"machine": "a machine", "versions": {"onnx": "1"}, "calibration": 8, "samples": 4}
    text = page(facts, about)
    for line in (
        "| net | ort-u8s8 | 16, 35, 20 | 1 | 0 of 40 | 3 of 40 | 0 / 0 | 0 | 7 of 40 (0) / 0 "
        "| 4 places, then 41.5 dB |",
        "| net | ort-u8s8 | 7 | Add 1 | 2 | scale 2 |",
        "- net, nncf: `ValueError: no`",
        "- 1: stays an operation: it is computed",
    ):
        assert line in text.splitlines()
    assert "| 3 / 0 / 0 / 1 |" in text


@pytest.fixture(scope="module")
def resnet8() -> Any:
    if not (DEFAULT_SHARED / "models").is_dir():
        pytest.skip("the shared networks are not beside the project")
    pytest.importorskip("onnxruntime.quantization")
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "float.onnx"
        options = SimpleNamespace(shared=DEFAULT_SHARED, calibration=4, samples=2)
        given, inputs = _prepare(NETWORKS["resnet8"], options, model)
        (name,) = inputs[0]
        own = api.quantize_network(model, {name: given[0]}, "onnxruntime")
        yield SimpleNamespace(model=model, given=given, inputs=inputs, own=own)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name", ["ort-u8s8", "ort-u8s8-relu", "ort-s8s8", "ort-qoperator-u8u8", "ort-int4"]
)
def test_a_file_of_onnx_runtimes_tool(name: str, resnet8: Any) -> None:
    tool = TOOLS[name]
    model = resnet8.model if tool.is_prepared else resnet8.model.with_name(RAW)
    found = measure(tool, model, resnet8.given, resnet8.inputs, resnet8.own)
    assert found["adopted"]
    assert found["left"] == 0
    assert found["trip"]["differing"] == found["fast-trip"]["differing"] == 0
    assert found["reference"]["causes"].get("unexplained", 0) == 0
    if name != "ort-int4":  # its activations are real: sums differ in their last bits
        assert found["import"]["differing"] == 0
    if name.startswith(("ort-u8s8", "ort-s8s8")):  # real sums of QOperator may meet a tie
        assert found["reference"]["differing"] == 0
    if name == "ort-u8s8-relu":
        assert not found["diff"]["operations"]
        assert found["diff"]["relus"] == 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_dynamic_file_stays_as_it_is_and_runs(resnet8: Any) -> None:
    tool = TOOLS["ort-dynamic"]
    model = resnet8.model.with_name(RAW)
    found = measure(tool, model, resnet8.given, resnet8.inputs, resnet8.own)
    assert not found["adopted"]
    assert found["import"]["differing"] == 0


def _as_c(make: Make, resnet8: Any, folder: Path, **how: Any) -> Compilation:
    """Quantize with a tool, compile its file to C, and run that."""
    make(resnet8.model, resnet8.given, folder / "quantized.onnx")
    done = compile_model(folder / "quantized.onnx", folder / "out", target="c-portable", **how)
    (name,) = resnet8.inputs[0]
    data = [{name: array} for array in resnet8.given]
    claims = {claim.name: claim for claim in validate(folder / "out", data)}
    assert all(claim.held for claim in claims.values())
    assert claims["integers equal the reference, gcc -O2"].found.startswith("0 of 40 elements")
    return done


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_what_nncf_leaves_real_is_calibrated_for_c(resnet8: Any, tmp_path: Path) -> None:
    pytest.importorskip("nncf", reason="needs NNCF")
    (name,) = resnet8.inputs[0]
    samples = [{name: array} for array in resnet8.given]
    done = _as_c(TOOLS["nncf"].make, resnet8, tmp_path, calibration=Calibration(samples))
    graphs = dict(done.graphs)
    adopted = {row.id: row for row in graphs["02-quantize.qir"].rows.values() if is_adopted(row)}
    final = graphs["04-opt.qir"].rows
    assert len(adopted) == 24
    assert {name: final[name] for name in adopted} == adopted
    said = [text for who, _, text in done.facts["remarks"] if who == "complete-quantizers"]
    assert said == ["the model does not quantize 'Add__29:0'"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_uint8_weights_around_128_run_as_c(resnet8: Any, tmp_path: Path) -> None:
    make = static_tool("QUInt8", "QUInt8", extra_options={"WeightSymmetric": True})
    done = _as_c(make, resnet8, tmp_path)
    assert done.profile is None
    shifted = [text for *_, text in done.facts["remarks"] if "less its zero point" in text]
    assert len(shifted) == 10
