"""Which weights get blocks, and what stands beside them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from quantable.ir import Relation
from quantable.targets import load_target

FIRST = ("dispatch", "assign-configs")


@pytest.fixture
def weight_of(examples):
    """Return the config of the weight of one operation."""

    def of(kind, shape, target="onnxruntime-int4-block", **attributes):
        graph = examples.network(
            f"y = {kind}(x, w, b)", w=np.ones(shape, np.float32),
            b=np.ones(shape[1 if kind == "quantable.Linear" else 0], np.float32),
        )  # fmt: skip
        if attributes:
            op = graph.operation_by_name["y"]
            graph = graph.with_operation(replace(op, attributes=attributes))
        done = examples.after(graph, FIRST, examples.context_of(graph, target))
        return done.operation_by_name["y"].config.inputs

    return of


@pytest.mark.parametrize(
    ("kind", "shape", "axis"),
    [("quantable.Linear", (64, 10), 0), ("Conv", (8, 64, 1, 1), 1), ("Conv", (8, 33, 1, 1), 1)],
)
def test_matrices_of_at_least_one_block_are_quantized_in_blocks(weight_of, kind, shape, axis):
    _, weight, bias = weight_of(kind, shape)
    assert (str(weight.policy), weight.bits) == ("block-linear-symmetric", 4)
    assert (weight.channel_axis, weight.block_size) == (axis, 32)
    assert bias.relation is Relation.NONE


@pytest.mark.parametrize(
    ("kind", "shape", "attributes"),
    [
        ("quantable.Linear", (31, 10), {}),
        ("Conv", (8, 64, 3, 3), {}),
        ("Conv", (64, 32, 1, 1), {"group": 2}),
        ("ConvTranspose", (64, 64, 1, 1), {}),
    ],
)
def test_other_weights_get_the_other_scheme(weight_of, kind, shape, attributes):
    _, weight, bias = weight_of(kind, shape, **attributes)
    assert (str(weight.policy), weight.bits) == ("channel-linear-symmetric", 8)
    assert bias.relation is Relation.DERIVED


def test_a_bias_beside_floating_weights_stays_float(weight_of):
    _, weight, bias = weight_of("Conv", (8, 4, 3, 3), "onnxruntime-fp8")
    assert str(weight.policy) == "channel-floating-symmetric-power-of-two"
    assert (weight.exponent_bits, weight.channel_axis) == (4, 0)
    assert bias.relation is Relation.NONE
    assert load_target("onnxruntime-fp8").schemes["weight"].block_size == 0
