"""Recipe files: TOML with the same keys as the options of a command."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path

from quantable.ir import OptionError, UnknownNameError

RecipeValue = str | bool | list[str]


def read_recipe(path: str | Path, known: Iterable[str]) -> dict[str, RecipeValue]:
    """Read a recipe.

    Args:
        path: The TOML file. Numbers and lists of numbers are returned as the text that the command
            line takes; a table ``[pipeline]`` as a list of ``stage=passes``.
        known: The keys that may occur.

    Raises:
        OptionError: The file is missing or no TOML.
        UnknownNameError: A key is no option.
    """
    try:
        table = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise OptionError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OptionError(f"is not TOML: {error}", where=str(path)) from error
    names = set(known)
    for key in table:
        if key.replace("_", "-") not in names:
            raise UnknownNameError("key", key, names, where=str(path))
    return {key.replace("_", "-"): _value(key, value, path) for key, value in table.items()}


def _value(key: str, value: object, path: str | Path) -> RecipeValue:
    if isinstance(value, (str, bool)):
        return value
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, list) and all(isinstance(v, (int, float)) for v in value):
        return ",".join(str(v) for v in value)
    if isinstance(value, list) and all(isinstance(v, str) for v in value):
        return value
    if isinstance(value, dict) and all(isinstance(v, str) for v in value.values()):
        return [f"{name}={text}" for name, text in value.items()]
    raise OptionError(f"key '{key}': cannot be an option: {value!r}", where=str(path))
