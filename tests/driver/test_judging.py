"""The judge: what it measures, on which samples, and that it is a function."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantable.driver import api
from quantable.driver.judging import QuantizedNoise, evenly
from quantable.driver.tuning_data import TuningData
from quantable.ir import DType, Graph, Operation, Value
from quantable.passes.base import PassContext
from quantable.passes.canonicalize.trials import DiscerningJudge
from quantable.passes.laboratory import fitting_samples, held_out_samples
from quantable.passes.network_noise import judged_values
from quantable.targets.description import Target, load_target
from quantable.training import ReferenceLaboratory


@pytest.fixture(scope="module")
def laboratory(digits: Any, canonical_graph: Graph) -> ReferenceLaboratory:
    samples = api.open_samples(digits.calibration, canonical_graph, digits.how, samples=24)
    return ReferenceLaboratory(list(samples))


def narrow(folder: Path) -> Target:
    path = folder / "narrow.toml"
    path.write_text(
        'extends = "x86-vnni"\nname = "narrow"\n[schemes.weight]\nbits = 3\nquant_min = -3\n'
        "quant_max = 3\n"
    )
    return load_target(path)


def test_it_is_the_noise_of_the_stages_on_samples_that_are_held_out(
    laboratory: ReferenceLaboratory, canonical_graph: Graph
) -> None:
    held, fitted = held_out_samples(24), fitting_samples(24)
    (name,) = canonical_graph.inputs
    inputs = laboratory.values(canonical_graph, [name], range(24))[name]
    profile = api.observe(canonical_graph, [{name: inputs[index]} for index in fitted])
    calibrated = api.calibrate(api.quantize(canonical_graph, "x86-vnni"), profile)
    quantized = api.refine(calibrated)
    right = laboratory.values(canonical_graph, canonical_graph.outputs, held)
    (expected,) = laboratory.noise(quantized, right, held).values()
    judge = QuantizedNoise(canonical_graph, load_target("x86-vnni"), laboratory)
    assert judge(canonical_graph) == pytest.approx(expected, rel=1e-12)
    assert len(judge.parts(canonical_graph)) == len(held)
    assert min(judge.parts(canonical_graph)) < expected < max(judge.parts(canonical_graph))
    assert 0 < expected < 0.1


def test_fewer_bits_and_broken_weights_are_worse(
    laboratory: ReferenceLaboratory, canonical_graph: Graph, tmp_path: Path
) -> None:
    judge = QuantizedNoise(canonical_graph, load_target("x86-vnni"), laboratory)
    coarse = QuantizedNoise(canonical_graph, narrow(tmp_path), laboratory)
    assert coarse(canonical_graph) > 10 * judge(canonical_graph)
    weight = next(op.inputs[1] for op in canonical_graph.operations if op.kind == "Conv")
    zero = canonical_graph.store.put(np.zeros_like(canonical_graph.array(weight)))
    broken = replace(canonical_graph, parameters={**canonical_graph.parameters, weight: zero})
    assert judge(broken) > 10 * judge(canonical_graph)


def test_the_same_graph_is_judged_once_and_the_same_again(
    laboratory: ReferenceLaboratory, canonical_graph: Graph
) -> None:
    calls = []

    def observe(graph: Graph, samples: Any) -> Any:
        calls.append(graph)
        return api.observe(graph, list(samples))

    judge = QuantizedNoise(canonical_graph, load_target("x86-vnni"), laboratory, observe=observe)
    first = judge(canonical_graph)
    assert judge(replace(canonical_graph)) == first
    assert len(calls) == 1
    assert QuantizedNoise(canonical_graph, load_target("x86-vnni"), laboratory)(
        canonical_graph
    ) == first  # fmt: skip


def test_a_softmax_at_an_output_is_left_out(canonical_graph: Graph) -> None:
    (logits,) = canonical_graph.outputs
    softmax = Operation("p", "Softmax", (logits,), ("p",), {"axis": -1})
    ended = replace(
        canonical_graph, outputs=("p",), operations=(*canonical_graph.operations, softmax),
        values={**canonical_graph.values, "p": Value("p", DType.FLOAT32, (None,))},
    )  # fmt: skip
    assert judged_values(ended) == judged_values(canonical_graph) == [logits]


@pytest.mark.parametrize(
    ("most", "expected"), [(2, [0, 12]), (4, [0, 6, 12, 18]), (99, list(range(24)))]
)
def test_samples_are_spread_evenly(most: int, expected: list[int]) -> None:
    assert evenly(range(24), most) == expected


def test_the_judge_that_the_driver_hands_out_tells_samples_apart(
    laboratory: ReferenceLaboratory, canonical_graph: Graph
) -> None:
    context = PassContext(target=load_target("x86-vnni"))
    TuningData(laboratory).equip(context, canonical_graph)
    assert isinstance(context.judge, DiscerningJudge)
    assert len(context.judge.parts(canonical_graph)) == len(held_out_samples(24))
