"""The options of every registered pass and their text give back each other, exactly."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantable.driver.pipelines import canonical, resolve
from quantable.ir import OptionError
from quantable.passes.base import Pass
from quantable.passes.registry import PASSES
from quantable.text.pipeline import parse_pipeline
from quantable.text.spelling import option_text

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
REGISTERED = {
    str: TEXTS,
    bool: st.booleans(),
    int: st.integers(-(2**63), 2**63 - 1),
    float: st.floats(allow_nan=False),
    tuple[str, ...]: st.lists(TEXTS, max_size=3).map(tuple),
    tuple[int, ...]: st.lists(st.integers(-99, 99), max_size=3).map(tuple),
    tuple[float, ...]: st.lists(st.floats(allow_nan=False), max_size=3).map(tuple),
}


def values_of(hint: Any) -> st.SearchStrategy[Any]:
    """Values of an option's type; of words, and lists of them, those that there are."""
    is_list = get_origin(hint) is tuple
    inner = get_args(hint)[0] if is_list else hint
    if get_origin(inner) is not Literal:
        return REGISTERED[hint]
    words = st.sampled_from(get_args(inner))
    return st.lists(words, max_size=3).map(tuple) if is_list else words


def strategy_of(cls: type[Pass]) -> st.SearchStrategy[Pass]:
    hints = get_type_hints(cls)
    return st.builds(cls, **{f.name: values_of(hints[f.name]) for f in fields(cls)})


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_every_pass_with_any_options(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(PASSES)))
    made = data.draw(strategy_of(PASSES[name].load()))
    text = canonical([made])
    (again,) = resolve(text)
    assert again == made
    assert repr(again) == repr(made)
    assert canonical([again]) == text


VALUES = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | TEXTS,
    lambda item: st.lists(item, max_size=3).map(tuple), max_leaves=6,
)  # fmt: skip


@given(VALUES)
def test_any_value_survives_text(value: object) -> None:
    (item,) = parse_pipeline(f"a{{x={option_text(value)}}}")
    assert repr(item.options[0].value) == repr(value)


def test_what_no_option_can_hold_is_refused() -> None:
    with pytest.raises(TypeError, match="no option holds a dict"):
        option_text({})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('a{x="\\q"}', "a string cannot be read"),
        ('a{x="open', "a string is not closed"),
        ("a{x=99999999999999999999}", "expected an integer from"),
        ("a{x=1e999}", "1e999 is no number that a float64 holds"),
        ("a{x=trueish}", "found 'trueish'"),
    ],
)
def test_values_that_cannot_be_read_are_pointed_at(text: str, message: str) -> None:
    with pytest.raises(OptionError) as caught:
        parse_pipeline(text)
    assert message in caught.value.message
    assert caught.value.message.endswith("^")
