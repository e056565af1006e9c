"""A search's result as a recipe: what `quantable compile --recipe` takes."""

from __future__ import annotations

import json
from collections.abc import Mapping

from quantable.driver.mixed_precision.found import Found
from quantable.driver.mixed_precision.search import EFFORT


def recipe(found: Found, target: str, options: Mapping[str, str]) -> str:
    """Return the text of a recipe.

    Args:
        found: What was found.
        target: As the search was given it.
        options: Further keys, for instance of the preprocessing.
    """
    lines = [
        f"# Bit widths within {found.budget}; noise at the outputs {found.best.measured:.4g}.",
        f"target = {_quoted(target)}",
        f"effort = {_quoted(EFFORT)}",
        *(f"{key.replace('_', '-')} = {_quoted(value)}" for key, value in options.items()),
    ]
    entries = [f"    {_quoted(entry)},\n" for entry in found.entries]
    return "\n".join(lines) + f"\nassign = [\n{''.join(entries)}]\n"


def _quoted(text: str) -> str:
    # A basic string of TOML is one of JSON but for DEL, which TOML wants escaped.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")
