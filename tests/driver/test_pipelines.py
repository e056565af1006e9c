"""The pipeline language: text to passes and back, and errors that point."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantable.driver.pipelines import canonical, resolve, with_dispatch
from quantable.ir import OptionError, UnknownNameError
from quantable.passes.registry import GROUPS, PASSES
from quantable.text.pipeline import PipelineItem, parse_pipeline


def test_items_have_names_options_and_columns() -> None:
    items = parse_pipeline('a,b-c{x=1 y="s" z=[1,-2.5,"t"] t=true f=false},group')
    assert [(item.name, item.column) for item in items] == [("a", 1), ("b-c", 3), ("group", 48)]
    values = {option.name: option.value for option in items[1].options}
    assert values == {"x": 1, "y": "s", "z": (1, -2.5, "t"), "t": True, "f": False}
    assert items[0] == PipelineItem("a", (), 1)


def test_white_space_and_line_ends_do_not_matter() -> None:
    assert [item.name for item in parse_pipeline(" a ,\n\tb { x = 1 } ")] == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "column", "found"),
    [
        ("", 1, "the end"),
        ("a,", 3, "the end"),
        ("a,,b", 3, "','"),
        ("a b", 3, "'b'"),
        ("a{x}", 4, "'}'"),
        ("a{x=}", 5, "'}'"),
        ("a{x=1", 6, "the end"),
        ("a{x=word}", 5, "'word'"),
        ("a{x=[1,]}", 8, "']'"),
        ("Upper", 1, "'Upper'"),
    ],
)
def test_a_fault_is_pointed_at(text: str, column: int, found: str) -> None:
    with pytest.raises(OptionError) as caught:
        parse_pipeline(text)
    first, shown, caret = caught.value.message.split("\n")
    assert f"found {found} at column {column}" in first
    assert shown == f"  {text}"
    assert caret == " " * (column + 1) + "^"


def test_groups_expand_in_order() -> None:
    assert [item.name for item in resolve("quantize,bake")] == [*GROUPS["quantize"], "bake"]


def test_options_are_checked_against_the_fields_of_the_pass() -> None:
    (item,) = resolve('calibrate{method="percentile" percentile=99}')
    assert canonical([item]) == 'calibrate{method="percentile" percentile=99.0}'


@pytest.mark.parametrize("name", PASSES)
def test_canonical_text_is_a_fixpoint(name: str) -> None:
    text = canonical(resolve(name))
    assert canonical(resolve(text)) == text == name


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\n\r", exclude_categories=["Cs"]))


@given(TEXTS, st.lists(TEXTS, max_size=3), st.booleans())
def test_any_option_value_survives_text(text: str, table: list[str], again: bool) -> None:
    from quantable.passes.calibrate.calibrate import Calibrate
    from quantable.passes.quantize.dispatch import Dispatch

    made = (Dispatch(method=text, table=tuple(table)), Calibrate(again=again))
    assert resolve(canonical(made)) == made


def test_an_unknown_pass_gets_the_nearest_names() -> None:
    with pytest.raises(UnknownNameError, match="unknown pass 'canonicalise'") as caught:
        resolve("bake,canonicalise")
    assert caught.value.message.endswith("\n       ^")
    assert "canonicalize" in caught.value.help


def test_an_unknown_option_gets_the_nearest_names() -> None:
    with pytest.raises(UnknownNameError, match="option of pass 'calibrate' 'methode'") as caught:
        resolve('calibrate{methode="kl"}')
    assert "method" in caught.value.help


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("calibrate{method=1}", "option 'method': expected a text, found 1"),
        ("calibrate{again=1}", "option 'again': expected true or false, found 1"),
        ("calibrate{percentile=true}", "option 'percentile': expected a number, found True"),
        ('dispatch{table="a=float"}', "option 'table': expected a list, each a text"),
        ("dispatch{table=[1]}", "option 'table': expected a list, each a text"),
        ('calibrate{method="kl" method="mse"}', "option 'method' is given twice"),
        ("quantize{x=1}", "group 'quantize' takes no options"),
    ],
)
def test_wrong_options_are_refused(text: str, message: str) -> None:
    with pytest.raises(OptionError) as caught:
        resolve(text)
    assert message in caught.value.message


def test_dispatch_gets_other_options() -> None:
    assert with_dispatch("quantize") == "quantize"
    text = with_dispatch('dispatch{table=["a=float"]},assign-configs', table=['b"\n=x=float'])
    first, second = resolve(text)
    assert first.table == ("a=float", 'b"\n=x=float')  # type: ignore[attr-defined]
    assert first.method == "conservative"  # type: ignore[attr-defined]
    assert second.name == "assign-configs"
    assert "all-in" in with_dispatch("quantize", method="all-in")


def test_options_of_dispatch_need_it() -> None:
    with pytest.raises(OptionError, match="no pass takes the method"):
        with_dispatch("assign-configs", method="all-in")
