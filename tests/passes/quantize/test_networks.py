"""The shared networks through quantization, calibration and refinement."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from quantable.frontend import import_model
from quantable.ir import Relation, State, graph_digest, verify
from quantable.passes.base import PassContext, run_passes
from quantable.passes.registry import GROUPS, pass_class
from quantable.reference import FloatExecutor, ReferenceRuntime, observe
from quantable.targets import load_target

MODELS = Path(__file__).resolve().parents[4] / "shared" / "models"
FAST = ("cct_cifar", "dscnn_kws", "resnet8")
SLOW = (
    "fc_autoencoder", "mobilenetv1_0.25_128", "mobilenetv1_vww", "mobilenetv2_keras", "resnet20",
    "resnet56", "ultraface_slim",
)  # fmt: skip
NAMES = (*FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW))
REFINE = ("calibrate", *GROUPS["refine"])
pytestmark = pytest.mark.skipif(not MODELS.is_dir(), reason=f"no shared networks at {MODELS.name}")


@pytest.fixture(scope="module", params=NAMES)
def measured(request):
    """A canonical float graph with the profile of one random sample."""
    executor = FloatExecutor()
    graph = import_model(MODELS / f"{request.param}.onnx", executor=executor)
    passes = [pass_class(name)() for name in GROUPS["canonicalize"]]
    graph = run_passes(graph, passes, PassContext(executor=executor))
    (name,) = graph.inputs
    shape = [dim if isinstance(dim, int) else 1 for dim in graph.shape(name)]
    sample = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    return graph, observe(graph, [{name: sample}], threads=1), {name: sample}


TARGETS = (
    "onnxruntime", "onnxruntime-int8", "onnxruntime-fp8", "onnxruntime-int4-block",
    "onnxruntime-mxfp8", "x86-vnni",
)  # fmt: skip


@pytest.fixture(scope="module", params=TARGETS)
def context(request, measured):
    return PassContext(target=load_target(request.param), profile=measured[1])


def chain(graph, context):
    names = (*GROUPS["quantize"], *REFINE)
    return run_passes(graph, [pass_class(name)() for name in names], context)


@pytest.fixture(scope="module")
def done(measured, context):
    return chain(measured[0], context)


def test_every_network_can_be_quantized_for_every_target(measured, context, done):
    graph, _, sample = measured
    verify(done)
    target = context.target
    for op in done.quantable_operations:
        rule = target.rules[op.kind]
        if rule.role == "compute":
            assert op.config.inputs[0].is_quantized, op.name
            constant = [index for index, name in enumerate(op.inputs) if done.is_parameter(name)]
            is_product = op.config.inputs[-1].relation is not Relation.NONE
            expected = constant if is_product else constant[:1]  # a float bias
            assert {entry.slot for entry in op.baked} >= set(expected)
        states = {config.state for _, _, config in op.config.slots()}
        assert not states & {State.INITIAL, State.PASSIVE_INIT}
    if target.integer_only:
        assert len(done.quantable_operations) == len(done.operations)
    real = ReferenceRuntime(graph).run(sample)
    simulated = ReferenceRuntime(done).run(sample)
    for name, expected in real.items():
        error = np.square(simulated[name] - expected).sum()
        # 10 dB on noise as input; weights of 4 bits or 3 of mantissa cost 9 dB and more.
        weight = target.schemes["weight"]
        allowed = 0.3 if weight.policy.is_floating or weight.bits < 8 else 0.1
        assert error < allowed * np.square(expected).sum(), name


def test_the_bytes_and_a_second_run_are_the_same(measured, context, done):
    assert graph_digest(chain(measured[0], context)) == graph_digest(done)
    for name in (*GROUPS["quantize"][1:], *REFINE):
        assert pass_class(name)().run(done, context) is done, name


def test_dequantized_it_is_the_float_network(measured, done):
    graph, _, sample = measured
    real = ReferenceRuntime(graph).run(sample)
    suspended = ReferenceRuntime(done.dequantized()).run(sample)
    for name, expected in real.items():
        assert np.array_equal(suspended[name], expected)
