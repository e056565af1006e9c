"""The text of graphs: exact, stable, one statement a line, and readable by an LALR parser."""

from __future__ import annotations

import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantable.ir import (
    LEGAL_POLICIES,
    BakedParameter,
    ContentRef,
    ContentStore,
    Decision,
    DType,
    Graph,
    Level,
    MemoryPlan,
    Operation,
    OperationQuantizationConfig,
    QuantableOperation,
    QuantizationParameters,
    Relation,
    Rounding,
    StageRecord,
    State,
    TensorQuantizationConfig,
    Value,
    Visibility,
)
from quantable.text.parser import parse_graph
from quantable.text.printer import contents_text, print_graph
from quantable.text.spelling import float_text, number_of


def rich_graph(name: str = "odd name:0") -> Graph:
    store = ContentStore()
    w = store.put(np.linspace(-1, 1, 20, dtype=np.float32).reshape(2, 10))
    b = store.put(np.asarray([0.1, -0.0], np.float32))
    i4 = store.put(np.asarray([1, -2]), DType.INT4)
    policy = next(p for p in LEGAL_POLICIES if p.is_per_channel and p.is_floating)
    config = TensorQuantizationConfig(
        policy, 8, 4, -448, 448, Rounding.HALF_UP, 1, "mse", Visibility.INTERNAL, State.BAKED,
        Relation.OWN, name,
    )  # fmt: skip
    free = TensorQuantizationConfig()
    op = QuantableOperation(
        name, "com.microsoft.Gelu", (name, "w", "", "b"), ("y", ""),
        {"pads": (1, -1), "f": 0.1, "g": 0.1 + 0.2, "s": 'quo"te\n', "none": (), "in": b},
        ("/node:0",), OperationQuantizationConfig((config, free, free, config.suspend()), (free,)),
        "c-portable", ((1, w),), (BakedParameter(1, i4, "ab"),),
    )  # fmt: skip
    values = {name: Value(name, DType.FLOAT32, ("N", "?1", 3)), "y": Value("y", DType.FLOAT32)}
    values |= {"w": Value("w", w.dtype, w.shape), "b": Value("b", DType.FLOAT32, (3,))}
    values["stray"] = Value("stray", DType.INT64, ())
    rows = (
        QuantizationParameters(name, (0.1, 0.25), (0, 0), ("p", "q"), "by hand"),
        QuantizationParameters("two", (0.5,), (3, 4)), QuantizationParameters("empty"),
    )  # fmt: skip
    return Graph(
        "g", Level.PLANNED, 21, (name,), ("y",), values, (op,), {"w": w, "b": b},
        {row.id: row for row in rows}, "x86-vnni", MemoryPlan(64, 32, {"y": 32, name: 0}),
        {"k": "v"}, (StageRecord("bake", 2, '{a="x"}', "1", "2", "", "0.1.0"),), store,
    )  # fmt: skip


EXPECTED = """\
quantable-text 1
graph "g" level planned opset 21 target "x86-vnni" arena 64 alignment 32 offsets \
{%"odd name:0" = 0, %y = 32}
metadata "k" "v"
input %"odd name:0": f32[N, "?1", 3]
output %y
value %stray: i64[]
parameter @b: f32[3] = dense f32[2] [0.1, -0.0]
parameter @w = dense f32[2, 10] sha256:WEIGHT
row #empty
row #"odd name:0" scale [0.1, 0.25] zero-point 0 derived [#p, #q] provenance "by hand"
row #two scale 0.5 zero-point [3, 4]
scheme !0 SCHEME
operation @"odd name:0" com.microsoft.Gelu(%"odd name:0", @w, _, @b) -> (%y: f32[*], _) \
attributes {f = 0.1d, g = 0.30000000000000004d, in = dense f32[2] [0.1, -0.0], \
none = [], pads = [1, -1], s = "quo\\"te\\n"} platform "c-portable" \
in [baked own #"odd name:0" !0, fp32, fp32, fp32 suspended baked own #"odd name:0" !0] \
out [fp32] originals {1 = dense f32[2, 10] sha256:WEIGHT} \
baked {1 = dense i4[2] [1, -2] with "ab"} sources ["/node:0"]
stage "bake" version 2 options "{a=\\"x\\"}" input "1" output "2" tool "0.1.0"
"""
SCHEME = (
    "bits 8 channel-floating-symmetric-power-of-two range [-448, 448] exponent 4 axis 1 "
    'rounding half-up observer "mse" visibility internal'
)


def test_everything_is_printed_as_specified() -> None:
    graph = rich_graph()
    expected = EXPECTED.replace("WEIGHT", graph.parameters["w"].digest).replace("SCHEME", SCHEME)
    assert print_graph(graph, history=True) == expected


def test_decisions_are_lines_under_their_stage() -> None:
    decisions = (
        Decision(("conv", "a b"), "steps", "noise", 0.1, 0.0, True),
        Decision((), "again", "", float("nan"), float("inf"), False, "not better"),
    )
    record = StageRecord("adaround", 1, decisions=decisions)
    text = print_graph(replace(Graph("g"), history=(record,)), history=True)
    assert text.splitlines()[2:] == [
        'stage "adaround" version 1',
        '  decision [@conv, @"a b"] tried "steps" measure "noise" before 0.1d after 0.0 accepted',
        '  decision [] tried "again" measure "" before nan after inf refused reason "not better"',
    ]
    assert parse_graph(text).history == (record,)


def test_history_is_printed_on_demand() -> None:
    assert "stage " not in print_graph(rich_graph())


def test_contents_are_elided_beyond_a_number_of_elements() -> None:
    graph = rich_graph()
    digest = f"sha256:{graph.parameters['w'].digest}"
    assert digest in print_graph(graph, elide=19)
    assert digest not in print_graph(graph, elide=20)
    assert "dense f32[2] sha256:" in print_graph(graph, elide=1)


def read_back(graph: Graph, elide: int = 16) -> Graph:
    text = print_graph(graph, elide=elide, history=True)
    return parse_graph(text, store=graph.store, checked=False)


@pytest.mark.parametrize("elide", [0, 16, 100])
def test_the_parser_reads_it_back(elide: int) -> None:
    graph = rich_graph()
    assert read_back(graph, elide) == graph


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)


@given(NAMES)
def test_any_name_can_be_read_back(name: str) -> None:
    graph = rich_graph(name)
    text = print_graph(graph)
    assert read_back(graph) == graph
    assert len(text.splitlines()) == text.count("\n")


def test_every_level_and_every_state_is_printed() -> None:
    for level in Level:
        graph = replace(rich_graph(), level=level, plan=None, target="")
        assert f"level {level.value} " in print_graph(graph)
        assert read_back(graph) == graph
    for state in State:
        op = rich_graph().quantable_operations[0]
        slot = replace(op.config.inputs[0], state=state)
        changed = rich_graph().with_operation(op.with_slot("in", 0, slot))
        assert f"in [{state.value} own #" in print_graph(changed)
        assert read_back(changed) == changed


@given(st.floats())
def test_floats_read_back_exactly(value: float) -> None:
    text = float_text(value)
    back = number_of(text)
    assert isinstance(back, float)
    assert struct.pack("<d", back) == struct.pack("<d", value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (float(np.float32(0.1)), "0.1"), (0.1, "0.1d"), (1.0, "1.0"), (-0.0, "-0.0"),
        (float("inf"), "inf"), (float("-inf"), "-inf"), (float("nan"), "nan"),
        (1e300, "1e+300d"), (2.0**-100, "7.888609e-31"),
    ],
)  # fmt: skip
def test_floats_are_the_shortest(value: float, text: str) -> None:
    assert float_text(value) == text


@pytest.mark.parametrize(
    ("dtype", "values", "text"),
    [
        (DType.FLOAT16, [0.1, -2], "dense f16[2] [0.1, -2.0]"),
        (DType.BFLOAT16, [0x3F80, 0xC000], "dense bf16[2] [1.0, -2.0]"),
        (DType.FLOAT8E4M3FN, [0x7E, 0xB8, 0x7F], "dense f8e4m3fn[3] [448.0, -1.0, nan]"),
        (DType.FLOAT8E5M2, [0x3C, 0xFC], "dense f8e5m2[2] [1.0, -inf]"),
        (DType.FLOAT4E2M1, [0x1, 0xF], "dense f4e2m1[2] [0.5, -6.0]"),
        (DType.FLOAT64, [0.1, 1e300], "dense f64[2] [0.1, 1e+300]"),
        (DType.BOOL, [1, 0], "dense bool[2] [true, false]"),
        (DType.UINT64, [2**64 - 1, 0], "dense u64[2] [18446744073709551615, 0]"),
        (DType.FLOAT32, [np.nan, np.inf], "dense f32[2] [nan, inf]"),
    ],
)  # fmt: skip
def test_contents_of_each_kind(dtype: DType, values: list[float], text: str) -> None:
    store = ContentStore()
    array = np.asarray(values, dtype.numpy)
    assert contents_text(store.put(array, dtype), store, 16) == text


def test_a_nan_that_would_lose_its_bits_is_named_by_digest() -> None:
    store = ContentStore()
    ref = store.put(np.asarray([0x7FC00001], np.uint32).view(np.float32))
    assert contents_text(ref, store, 16) == f"dense f32[1] sha256:{ref.digest}"


def test_contents_that_are_not_there_are_named_by_digest() -> None:
    ref = ContentRef("0" * 64, DType.INT8, (1,))
    assert contents_text(ref, ContentStore(), 16) == f"dense i8[1] sha256:{'0' * 64}"


def test_invalid_graphs_are_printed_too() -> None:
    graph = Graph("g", inputs=("a",), operations=(Operation("", "", ("b",), ("c",)),))
    assert print_graph(graph).splitlines()[2:] == ["input %a", 'operation @"" ""(%b) -> (%c)']
