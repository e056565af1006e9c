"""Text to binary to text and binary to text to binary give back the same bytes."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantable.ir import DType, Graph, Operation, Value, graph_digest
from quantable.ir.contents import ContentRef
from quantable.ir.floats import numbers
from quantable.schema import load, save
from quantable.text.parser import parse_graph
from quantable.text.printer import print_graph

RANDOM = settings(
    max_examples=50, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
ELIDE = st.sampled_from([0, 3, 16, 10_000])


def check_round_trip(graph: Graph, folder: Path, elide: int, *, checked: bool) -> None:
    first, second = folder / "first.qir", folder / "second.qir"
    save(graph, first, inline_limit=None)
    text = print_graph(load(first), elide=elide, history=True)
    read = parse_graph(text, store=graph.store, checked=checked)
    assert graph_digest(read) == graph_digest(graph)
    assert print_graph(read, elide=elide, history=True) == text
    save(read, second, inline_limit=None)
    assert second.read_bytes() == first.read_bytes()


@RANDOM
@given(data=st.data())
def test_random_graphs(any_graph: st.SearchStrategy[Graph], data: st.DataObject,
                       tmp_path: Path) -> None:  # fmt: skip
    check_round_trip(data.draw(any_graph), tmp_path, data.draw(ELIDE), checked=False)


@RANDOM
@given(data=st.data())
def test_random_networks(any_network: st.SearchStrategy[Graph], data: st.DataObject,
                         tmp_path: Path) -> None:  # fmt: skip
    check_round_trip(data.draw(any_network), tmp_path, data.draw(ELIDE), checked=True)


@pytest.mark.fuzz
@settings(RANDOM, max_examples=1000)
@given(data=st.data())
def test_many_random_graphs(any_graph: st.SearchStrategy[Graph], data: st.DataObject,
                            tmp_path: Path) -> None:  # fmt: skip
    check_round_trip(data.draw(any_graph), tmp_path, data.draw(ELIDE), checked=False)


@pytest.mark.fuzz
@settings(RANDOM, max_examples=1000)
@given(data=st.data())
def test_many_random_networks(any_network: st.SearchStrategy[Graph], data: st.DataObject,
                              tmp_path: Path) -> None:  # fmt: skip
    check_round_trip(data.draw(any_network), tmp_path, data.draw(ELIDE), checked=True)


def test_odd_numbers_keep_their_bits(tmp_path: Path) -> None:
    (odd,) = struct.unpack("<d", (0xFFF4000000000123).to_bytes(8, "little"))
    attributes = {
        "nan": float("nan"), "odd": odd, "inf": float("-inf"), "zero": -0.0, "low": -(1 << 63),
        "high": (1 << 63) - 1, "tiny": 5e-324, "list": (float("nan"), -0.0, odd, 1e300),
        'na"me\n': 'te"xt\n\u2028\U0001f600\x00', "empty": "", "none": (),
    }  # fmt: skip
    graph = Graph('g"\n', operations=(Operation("ö\n", "Relu", (), (), attributes),))
    check_round_trip(graph, tmp_path, 16, checked=True)


@pytest.mark.parametrize(
    ("dtype", "data", "shape"),
    [
        (DType.INT4, b"\xf1\x53", (3,)),  # the unused nibble is not zero
        (DType.BOOL, b"\x00\x02\xff", (3,)),
        (DType.BFLOAT16, b"\xc1\x7f\x00\x80", (2,)),
        (DType.FLOAT16, b"\xff\xff\x00\xfc", (2,)),
        (DType.FLOAT32, b"\x01\x00\x80\x7f\xff\xff\x7f\x7f", (2,)),
        (DType.FLOAT64, b"\x00" * 7 + b"\x80", ()),
        (DType.UINT64, b"\xff" * 8, (1, 1)),
        (DType.INT64, b"\x00" * 7 + b"\x80", (1,)),
        (DType.FLOAT32, b"", (0, 4)),
        (DType.FLOAT4E2M1, b"\xf1\x53", (3,)),
        (DType.FLOAT8E4M3FN, b"\xff\x80\x7e\x01", (4,)),
        (DType.FLOAT8E5M2, b"\xfc\x7d\x7b\x80", (4,)),
    ],
)  # fmt: skip
def test_contents_keep_every_bit(
    dtype: DType, data: bytes, shape: tuple[int, ...], tmp_path: Path
) -> None:
    graph = Graph("g")
    ref = graph.store.put_bytes(data, dtype, shape)
    values = {"w": Value("w", dtype, shape)}
    graph = replace(graph, values=values, parameters={"w": ref})
    check_round_trip(graph, tmp_path, 16, checked=True)


@pytest.mark.parametrize("dtype", [DType.FLOAT8E4M3FN, DType.FLOAT8E5M2, DType.FLOAT4E2M1])
def test_every_small_float_is_read_back(dtype: DType) -> None:
    """Those that are numbers element by element; a NaN of other bits by its digest."""
    for code in range(1 << dtype.bits):
        graph = Graph("g")
        ref = graph.store.put(np.asarray([code], np.uint8), dtype)
        held = replace(graph, values={"w": Value("w", dtype, (1,))}, parameters={"w": ref})
        text = print_graph(held)
        assert parse_graph(text, store=graph.store).parameters == {"w": ref}
        is_named = "sha256" in text
        canonical = {DType.FLOAT8E4M3FN: 0x7F, DType.FLOAT8E5M2: 0x7E}.get(dtype)
        assert is_named == (np.isnan(numbers(dtype)[code]) and code != canonical)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=12))
def test_every_float32_is_read_back(bits: list[int]) -> None:
    graph = Graph("g")
    ref = graph.store.put(np.asarray(bits, np.uint32).view(np.float32))
    held = replace(graph, values={"w": Value("w", ref.dtype, ref.shape)}, parameters={"w": ref})
    assert parse_graph(print_graph(held)).parameters == {"w": ref}


def test_the_text_of_a_parameter_without_contents_is_read_without_a_store() -> None:
    ref = ContentRef("ab" * 32, DType.INT8, (2, 3))
    graph = Graph("g", values={"w": Value("w", DType.INT8, (2, 3))}, parameters={"w": ref})
    read = parse_graph(print_graph(graph))
    assert read == graph
    assert ref.digest not in read.store


def test_a_person_may_write_what_is_not_canonical() -> None:
    text = """
    quantable-text 1   // the version
    graph "g" level float opset 17
    operation @r Relu( %x ,)->(%y:f32[ N,3 ])
    """
    good = text.replace(" ,)", " )") + "input %x : f32[N, 3]\noutput %y // the end"
    read = parse_graph(good)
    assert read.operations[0].inputs == ("x",)
    assert read.values["y"].shape == ("N", 3)
    hexadecimal = good.replace("-> (", "->(") + "\nrow #a scale 0x1.8p-3 zero-point 0"
    assert parse_graph(hexadecimal).rows["a"].scale == (0.1875,)
