"""The example in each pass's docstring is what the pass does."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from typing import Any

import pytest

from quantable.ir import Graph
from quantable.passes.registry import PASSES

NAMES = [name for name, entry in PASSES.items() if entry.phase == "canonicalize"]
_EXAMPLE = re.compile(r"\nBefore:\n(.*?)\nAfter:\n(.*?)\n\n", re.S)


def _example(name: str) -> tuple[str, str]:
    text = importlib.import_module(PASSES[name].module).__doc__ or ""
    found = _EXAMPLE.search(text)
    assert found, f"{name}: expected Before: and After: blocks"
    return found[1], found[2]


@pytest.mark.parametrize("name", NAMES)
def test_example(
    name: str,
    rewrite: Callable[[str, str], Any],
    parse: Callable[[str], Graph],
    expect_same: Callable[[Graph, Graph], None],
) -> None:
    before, after = _example(name)
    outcome = rewrite(name, before)
    expect_same(outcome.after, parse(after))


@pytest.mark.parametrize("name", NAMES)
def test_docstring_states_preconditions_and_numerics(name: str) -> None:
    text = importlib.import_module(PASSES[name].module).__doc__ or ""
    assert re.search(r"\nPreconditions:\n    1\. ", text)
    assert re.search(r"\nNumerics: (bit-exact|real-equal)", text)
