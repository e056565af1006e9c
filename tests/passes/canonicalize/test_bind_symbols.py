"""Which symbols are bound to what, and what cannot be bound."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from quantable.ir import Graph, OptionError, UnknownNameError
from quantable.passes.base import PassContext, run_pass
from quantable.passes.canonicalize.bind_symbols import BindSymbols

TEXT = """x: f32[batch,past,4]; z: f32[batch,length,4]
y = Concat(x, z) {axis=1}
return y"""


def test_what_is_made_follows(parse: Callable[[str], Graph]) -> None:
    after = run_pass(parse(TEXT), BindSymbols(("length=3", "past=2")), PassContext())
    assert [after.shape(name) for name in "xzy"] == [(1, 2, 4), (1, 3, 4), (1, 5, 4)]


def test_a_graph_without_symbols_stays(parse: Callable[[str], Graph]) -> None:
    graph = parse("x: f32[2]\ny = Relu(x)\nreturn y")
    assert BindSymbols().run(graph, PassContext()) is graph


def test_a_name_that_is_no_symbol_is_refused(parse: Callable[[str], Graph]) -> None:
    with pytest.raises(UnknownNameError, match="symbol 'lenght'"):
        run_pass(parse(TEXT), BindSymbols(("lenght=3",)), PassContext())


@pytest.mark.parametrize("entry", ["length", "length=", "=3", "length=-1", "length=x"])
def test_an_entry_that_is_none_is_refused(entry: str) -> None:
    with pytest.raises(OptionError, match="expected SYMBOL=NUMBER"):
        BindSymbols((entry,)).check()
