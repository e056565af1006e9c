"""Random bit widths for every slot of the embedded network: compiled code gives its integers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from quantable.driver import api
from quantable.driver.compile import Calibration, compile_model
from quantable.driver.pipelines import split_assignments, with_dispatch
from quantable.driver.validate import validate
from quantable.ir import Graph, Profile
from quantable.passes.quantize.assignments import slot_candidates
from quantable.targets import load_target
from tests.driver.conftest import Digits


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("target", ["c-portable", "onnxruntime"])
def test_random_bit_widths_are_compiled_and_proven(
    digits: Digits, canonical_graph: Graph, profile: Profile, target: str, seed: int,
    tmp_path: Path,
) -> None:  # fmt: skip
    dispatched = api.quantize(canonical_graph, target, passes="dispatch")
    random = np.random.default_rng(seed)
    entries = [
        f"{slot.operation}.{slot.side}{slot.index}={random.choice(names)}"
        for slot, names in slot_candidates(dispatched, load_target(target)).items()
        if random.random() < 0.7
    ]
    pipelines = {"quantize": with_dispatch("quantize", schemes=entries)}
    calibration = Calibration(profile=profile)
    made = compile_model(
        digits.model, tmp_path, target=target, calibration=calibration, pipelines=pipelines
    )
    assert made.facts["target"] == target
    claims = validate(tmp_path, digits.test, digits.how, samples=8)
    assert [claim for claim in claims if not claim.held] == []


def test_entries_go_to_the_pass_that_takes_them() -> None:
    target = load_target("onnxruntime")
    entries = ["a=float", "b=onnxruntime", "c.in0=float", "d=wide", "e.out1=narrow", "f"]
    table, schemes = split_assignments(entries, target)
    assert table == ("a=float", "b=onnxruntime", "f")
    assert schemes == ("c.in0=float", "d=wide", "e.out1=narrow")
