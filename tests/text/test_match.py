"""The match language: patterns, their canonical text, and what they find."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantable.ir import FormatError, Graph
from quantable.text.match import PROPERTIES, Pattern, Step, parse_pattern
from quantable.text.matcher import find_matches
from quantable.text.operations import KINDS
from quantable.text.parser import parse_graph

GRAPH = """quantable-text 1
graph "g" level float opset 21
input %x: f32[N, 2, 4, 4]
output %sum
output %last
parameter @w = dense f32[1] [1.0]
parameter @bias = dense f32[1] [2.0]
operation @c1 Conv(%x, @w) -> (%a: f32[*]) attributes {group = 1, pads = [1, 1], mode = "m"}
operation @r1 Relu(%a) -> (%b: f32[*])
operation @c2 Conv(%b, @w, @bias) -> (%c: f32[*]) attributes {group = 2, alpha = 0.5}
operation @r2 Relu(%c) -> (%d: f32[*])
operation @add Add(%c, %d) -> (%sum: f32[*])
operation @square Mul(%d, %d) -> (%e: f32[*])
operation @clip Clip(%e, _, @bias) -> (%last: f32[*])
"""


@pytest.fixture(scope="module")
def graph() -> Graph:
    return parse_graph(GRAPH)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("Conv", ["c1", "c2"]),
        ("Conv(%x, *)", ["c1"]),
        ("Conv(%x, *, ...)", ["c1", "c2"]),
        ("Conv(%x, @w, *) -> Relu", ["c2 r2"]),
        ("Conv(%x, %y, ...)", ["c1", "c2"]),
        ("Conv(@x, ...)", []),
        ("Conv -> Relu", ["c1 r1", "c2 r2"]),
        ("Conv [single-use] -> Relu", ["c1 r1"]),
        ("%c = Conv(%x, @w); %y = Relu(%c)", ["c1 r1"]),
        ("%y = Relu(%c); %c = Conv", ["r1 c1", "r2 c2"]),
        ("Conv|Mul -> Relu|Clip", ["c1 r1", "c2 r2", "square clip"]),
        ("Conv -> Relu -> Conv", ["c1 r1 c2"]),
        ("Conv -> *", ["c1 r1", "c2 r2", "c2 add"]),
        ("Mul(%x, %x)", ["square"]),
        ("Add(%x, %x)", []),
        ("Clip(*, _, @b)", ["clip"]),
        ("Clip(*, *, *)", ["clip"]),
        ("Clip(*, %low, *)", []),
        ("* [group = 2]", ["c2"]),
        ("* [group = 2.0]", []),
        ("Conv [pads = [1, 1]]", ["c1"]),
        ('Conv [mode = "m"]', ["c1"]),
        ("Conv [alpha = 0.5, group = 2]", ["c2"]),
        ("Conv [quantized]", []),
        ("Conv [float]", ["c1", "c2"]),
        ("%c = Conv; %r = Relu(%c); Add(%c, %r)", ["c2 r2 add"]),
        ("Conv(*, @k, ...) -> Relu; Conv(*, @k)", ["c2 r2 c1"]),
    ],
)
def test_a_pattern_finds_what_it_says(graph: Graph, pattern: str, expected: list[str]) -> None:
    found = [
        " ".join(operation.name for operation in match.operations)
        for match in find_matches(graph, parse_pattern(pattern))
    ]
    assert found == expected


def test_a_match_tells_the_values(graph: Graph) -> None:
    (match,) = find_matches(graph, parse_pattern("%y = Conv(%x, @k)"))
    assert match.values == {"%y": "a", "%x": "x", "@k": "w"}


def test_an_output_of_the_graph_has_a_second_reader(graph: Graph) -> None:
    changed = replace(graph, outputs=("a",))
    assert not list(find_matches(changed, parse_pattern("Conv [single-use] -> Relu")))


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        (" Conv(%x,*)->Relu ", "Conv(%x, *) -> Relu"),
        ("Conv[ single-use ,group=1 ]", "Conv [single-use, group = 1]"),
        ("* [pads=[1,1], beta = 1e-3]", "* [beta = 0.001, pads = [1, 1]]"),
        ('%"a b" = Conv(@"w",...)', '%"a b" = Conv(@w, ...)'),
        ("Relu()", "Relu()"),
        ("com.microsoft.Gelu -> int.Conv", "com.microsoft.Gelu -> int.Conv"),
    ],
)
def test_the_canonical_text(text: str, canonical: str) -> None:
    assert str(parse_pattern(text)) == canonical
    assert parse_pattern(canonical) == parse_pattern(text)


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4)
ATTRIBUTES = st.integers(-(2**63), 2**63 - 1) | st.floats(width=32, allow_nan=False) | NAMES
STEPS = st.builds(
    lambda kinds, properties, attributes: Step(
        tuple(kinds), None, "", tuple(sorted(properties)), tuple(sorted(attributes.items()))
    ),
    st.lists(st.sampled_from(sorted(KINDS)), max_size=3),
    st.sets(st.sampled_from(sorted(PROPERTIES))),
    st.dictionaries(st.from_regex(r"[A-Za-z_]{1,5}", fullmatch=True), ATTRIBUTES, max_size=2),
)


@given(st.lists(STEPS, min_size=1, max_size=4))
def test_any_chain_is_read_back(steps: list[Step]) -> None:
    chain = tuple(replace(step, is_chained=number > 0) for number, step in enumerate(steps))
    pattern = Pattern(chain)
    assert parse_pattern(str(pattern)) == pattern
    assert pattern.is_chain


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "pattern:1:1: expected '*', a kind of operation such as Conv or a name such as %x"),
        ("Conv -> Rleu", "pattern:1:9: unknown kind of operation 'Rleu'"),
        ("Conv [singleuse]", "help: did you mean single-use?"),
        ("Conv(..., %x)", "pattern:1:6: '...' stands at the end"),
        ("%c = Conv; Relu(%d)", "step 2 (Relu(%d)) shares no name with those before it"),
        ("%c = Conv; %c = Relu(%c)", "%c is the result of two steps"),
        ("@c = Conv", "pattern:1:1: a result has the sigil %, found '@c'"),
        ("_ = Conv", "pattern:1:1: a result has a name such as %y"),
        ("Conv [group = 1, group = 2]", "pattern:1:18: attribute group is given twice"),
        ("Conv [pads = [1, 1.0]]", "a list holds values of one type"),
        ("Conv(%x", "expected ')' or ',', found the end"),
        ("Conv Relu", "pattern:1:6: expected"),
        ('%"\\q" = Conv', "a string cannot be read"),
    ],
)
def test_a_fault_is_pointed_at(text: str, message: str) -> None:
    with pytest.raises(FormatError) as caught:
        parse_pattern(text)
    assert message in str(caught.value)
    assert "^" in str(caught.value)
