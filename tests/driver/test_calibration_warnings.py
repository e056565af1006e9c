"""Doubtful networks and samples: every row of the table has its case, good data none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from quantable.cli.main import main
from quantable.driver import api
from quantable.driver.calibration_warnings import WARNINGS, calibration_warnings, zero_outputs
from quantable.ir import Graph, Operation, Profile
from tests.driver.conftest import Digits

Images = npt.NDArray[np.float32]


def broken(images: Images) -> Images:
    images[3, 2, 2, 0] = 1e30
    return images


CASES: dict[str, tuple[Callable[[Images], Images], str, str]] = {
    "few-samples": (lambda x: x[:3], "graph 'main_graph'", "found 3"),
    "constant-value": (np.zeros_like, "value 'image'", "every element is 0 in all 32 samples"),
    "outlier": (broken, "value 'image'", "reaches 6.25e+28"),
    "silent-channels": (np.zeros_like, "value '/stem/stem.2/Clip_output_0'", "6 of 16 channels"),
}
"""What is done to good images, where it is told, and a part of what."""


@pytest.fixture(scope="module")
def images(digits: Digits) -> Images:
    with np.load(digits.calibration) as found:
        first: Images = found["image"][:32].astype(np.float32)
    return first


def test_every_row_has_a_case() -> None:
    assert [*CASES, "zero-weights"] == list(WARNINGS)


@pytest.mark.parametrize("name", CASES)
def test_doubtful_samples_are_told_with_the_tensor(
    canonical_graph: Graph, images: Images, name: str
) -> None:
    change, place, text = CASES[name]
    samples = change(images.copy()).transpose(0, 3, 1, 2)[:, None] / np.float32(16)
    profile = api.observe(canonical_graph, list(samples))
    told = [found for found in calibration_warnings(canonical_graph, profile) if found[0] == name]
    assert any(found[1] == place and text in found[2] for found in told)


def test_weights_that_are_zero_are_told(canonical_graph: Graph, profile: Profile) -> None:
    layer = next(op for op in canonical_graph.operations if op.kind == "Conv")
    weights = canonical_graph.array(layer.inputs[1]).copy()
    weights[2:5] = 0
    held = {layer.inputs[1]: canonical_graph.store.put(weights)}
    changed = replace(canonical_graph, parameters={**canonical_graph.parameters, **held})
    told = calibration_warnings(changed, profile)
    assert [(name, place) for name, place, _ in told] == [("zero-weights", layer.where())]
    assert f"weight '{layer.inputs[1]}': 3 of 16 output channels are all zeros" in told[0][2]


def test_outputs_of_each_group_of_a_transposed_convolution_are_told_apart() -> None:
    weights = np.ones((4, 3, 2, 2), np.float32)
    weights[2:, 1] = 0
    op = Operation("t", "ConvTranspose", ("x", "w"), ("y",), {"group": 2})
    assert np.flatnonzero(zero_outputs(op, weights)).tolist() == [4]


def test_good_samples_are_not_doubted(canonical_graph: Graph, profile: Profile) -> None:
    assert calibration_warnings(canonical_graph, profile) == []


@pytest.mark.parametrize("effort", ["fast", "best"])
def test_the_command_warns_and_its_report_does_too(
    digits: Digits, images: Images, tmp_path: Path, effort: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    np.savez(tmp_path / "black.npz", image=np.zeros_like(images))
    words = ["--recipe", str(digits.recipe), "--calibration", str(tmp_path / "black.npz")]
    command = ["compile", str(digits.model), "--target", "onnxruntime-w4a4", "--effort", effort]
    assert main([*command, *words, "-o", str(tmp_path / "build")]) == 0
    told = capsys.readouterr().err
    assert "warning: constant-value: value 'image': every element is 0" in told
    assert "every element is 0" in (tmp_path / "build/report.md").read_text()
    final = api.load(next((tmp_path / "build").glob("04-*.qir")))
    for row in final.rows.values():
        assert np.isfinite(row.scale_array).all()
    for name in final.parameters:
        assert np.isfinite(final.array(name).astype(np.float64)).all()
