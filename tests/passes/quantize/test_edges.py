"""Which operations are at the edge of a network."""

from __future__ import annotations

import pytest

from quantable.passes.quantize.edges import edge_operations
from quantable.targets import load_target

BRANCHES = """
    t = Transpose(x)
    a = Conv(t, w, b)
    r = Relu(a)
    c = Conv(r, w2, b2)
    d = Conv(c, w3, b3)
    s = Add(d, r)
    e = Conv(s, w4, b4)
    y = Softmax(e)
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("y = Conv(x, w, b)", {"y"}),
        ("c = Conv(x, w, b)\ny = Conv(c, w2, b2)", {"c", "y"}),
        (BRANCHES, {"a", "e"}),
        ("a = Conv(x, w, b)\nc = Conv(z, w2, b2)\nd = Add(a, c)\nf = Conv(d, w3, b3)\n"
         "y = Conv(f, w4, b4)", {"a", "c", "y"}),
        ("a = Conv(x, w, b)\nc = Conv(a, w2, b2)\nf = Conv(a, w3, b3)\ny = Relu(c)\n"
         "z = Sigmoid(f)", {"a", "c", "f"}),
        ("a = Conv(x, w, b)\nc = Conv(a, w2, b2)\nd = Add(c, x)\ny = Conv(d, w3, b3)",
         {"a", "y"}),
        ("y = Relu(x)", set()),
    ],
)  # fmt: skip
def test_first_and_last_compute_operations(text, expected, examples):
    graph = examples.network(text)
    for target in ("c-portable", "onnxruntime"):
        assert edge_operations(graph, load_target(target)) == expected


def test_an_output_in_the_middle_has_its_own_last_operation(examples):
    text = "a = Conv(x, w, b)\nc = Conv(a, w2, b2)\nd = Conv(c, w3, b3)\ny = Conv(d, w4, b4)"
    graph = examples.network(text, outputs=("c", "y"))
    assert edge_operations(graph, load_target("c-portable")) == {"a", "c", "y"}


def test_an_operation_that_stays_float_is_a_compute_operation_all_the_same(examples):
    text = "a = Conv(x, w, b)\nc = Conv(a, w2, b2)\nd = Conv(c, w3, b3)\ny = Conv(d, w4, b4)"
    graph = examples.network(text)
    context = examples.context_of(graph, "onnxruntime")
    from quantable.passes.quantize.dispatch import Dispatch

    done = examples.after(graph, [Dispatch(table=("a=float",))], context)
    assert edge_operations(done, load_target("onnxruntime")) == {"a", "y"}
