"""Recurrent operations, written out, compute what they did."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

NAME = "unroll-recurrent"
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


def text(kind: str, attributes: str = "", slots: str = "", *, length: int = 4) -> str:
    """Return a graph of one operation whose parameters are random.

    Args:
        kind: RNN, GRU or LSTM.
        attributes: Beside hidden_size.
        slots: Letters of the optional inputs that are given: b, h, c, p.
        length: Of the sequences.
    """
    ways = 2 if "bidirectional" in attributes else 1
    rows = GATES[kind] * 3
    lines = [f"x: f32[{length},2,5]", f"w: f32[{ways},{rows},5] = random",
             f"r: f32[{ways},{rows},3] = random"]  # fmt: skip
    shapes = {"b": f"{ways},{2 * rows}", "h": f"{ways},2,3", "c": f"{ways},2,3", "p": f"{ways},9"}
    lines += [f"{slot}: f32[{shapes[slot]}] = random" for slot in slots]
    inputs = ["b" if "b" in slots else "_", "_"]
    inputs += [s if s in slots else "_" for s in ("hcp" if kind == "LSTM" else "h")]
    outputs = ["y", "last", "cell"][: 3 if kind == "LSTM" else 2]
    call = f"{', '.join(outputs)} = {kind}(x, w, r, {', '.join(inputs)})"
    return "\n".join([
        "; ".join(lines), f"{call} {{hidden_size=3 {attributes}}}", f"return {', '.join(outputs)}",
    ])  # fmt: skip


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize(
    ("kind", "more", "slots"),
    [("RNN", "", "bh"), ("LSTM", "", "b"), ("LSTM", "", "bhc"), ("LSTM", "", "bhcp"),
     ("LSTM", "", "p"), ("LSTM", "", "c"), ("GRU", "linear_before_reset=0", "b"),
     ("GRU", "linear_before_reset=1", "b"), ("GRU", "linear_before_reset=0", "bh"),
     ("GRU", "linear_before_reset=1", "bh")],
)  # fmt: skip
def test_unrolled(
    kind: str, more: str, slots: str, direction: str, rewrite: Callable[[str, str], Any]
) -> None:
    after = rewrite(NAME, text(kind, f'direction="{direction}" {more}', slots)).after
    assert not GATES.keys() & {op.kind for op in after.operations}


@pytest.mark.parametrize("kind", GATES)
def test_of_one_step(kind: str, rewrite: Callable[[str, str], Any]) -> None:
    after = rewrite(NAME, text(kind, slots="bh", length=1)).after
    assert kind not in {op.kind for op in after.operations}


@pytest.mark.parametrize("kind", GATES)
def test_weights_of_states_are_stored_once(kind: str, rewrite: Callable[[str, str], Any]) -> None:
    after = rewrite(NAME, text(kind, slots="bh", length=9)).after
    matrices = [n for n in after.parameters if len(after.parameters[n].shape) == 2]
    assert len(matrices) <= 3


DECLINED = {
    "clip": text("LSTM", "clip=3.0"),
    "input_forget": text("LSTM", "input_forget=1"),
    "layout": text("GRU", "layout=1").replace("[1,2,3]", "[2,1,3]"),
    "activations": text("RNN", 'activations=["Relu"]'),
    "too long": text("RNN", length=257),
    "an unknown length": text("RNN").replace("f32[4,", "f32[N,"),
    "lengths of sequences": text("RNN").replace("r, _, _", "r, _, n").replace(
        "x: f32", "n: i32[2] = [4, 3]; x: f32"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", DECLINED)
def test_declined(case: str, rewrite: Callable[[str, str], Any]) -> None:
    outcome = rewrite(NAME, DECLINED[case])
    assert outcome.after.operations == outcome.before.operations
    assert outcome.context.remarks
