"""Read a target description file: TOML, `extends`, and one JSON schema."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from quantable.ir import OptionError, UnknownNameError

Table = dict[str, Any]
TARGETS: tuple[str, ...] = (
    "aarch64-dotprod",
    "c-per-tensor",
    "c-portable",
    "c-power-of-two",
    "c-q31-double",
    "c-q31-single",
    "c-w4a4",
    "c-w4a8",
    "cortex-m4",
    "cortex-m55",
    "onnxruntime",
    "onnxruntime-fp8",
    "onnxruntime-int4-block",
    "onnxruntime-int8",
    "onnxruntime-mxfp8",
    "onnxruntime-per-tensor",
    "onnxruntime-w4a4",
    "onnxruntime-w4a8",
    "riscv-v",
    "riscv32",
    "x86-vnni",
)
"""Names of the targets that come with Quantable."""


def read_description(name_or_path: str | Path) -> Table:
    """Return the merged and checked description of a target.

    Args:
        name_or_path: A name of `TARGETS`, or the path of a TOML file.

    Raises:
        UnknownNameError: Neither a known name nor a file.
        OptionError: The file is not TOML or breaks the schema; the message names the key.
    """
    merged = _with_bases(name_or_path, ())
    if str(name_or_path) not in TARGETS:  # a test checks those: it takes longer than reading them
        check(merged, where=f"target description '{_label(name_or_path)}'")
    return merged


def _label(name_or_path: str | Path) -> str:
    return Path(name_or_path).name


def _text(name_or_path: str | Path) -> str:
    name = str(name_or_path)
    if name in TARGETS:
        return (resources.files("quantable.targets") / f"{name}.toml").read_text("utf-8")
    if not name.endswith(".toml"):
        raise UnknownNameError("target", name, TARGETS)
    try:
        return Path(name_or_path).read_text("utf-8")
    except OSError as error:
        raise OptionError(
            f"cannot read the target description: {error.strerror}",
            where=f"target description '{_label(name_or_path)}'",
            help="give the name of a target (quantable list targets) or the path of a .toml file",
        ) from error


def _with_bases(name_or_path: str | Path, seen: tuple[str, ...]) -> Table:
    where = f"target description '{_label(name_or_path)}'"
    if str(name_or_path) in seen:
        raise OptionError("key 'extends': the descriptions extend each other", where=where)
    try:
        table: Table = tomllib.loads(_text(name_or_path))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OptionError(f"expected TOML, found a fault: {error}", where=where) from error
    base = table.get("extends")
    if not isinstance(base, str):
        return table
    if base not in TARGETS:
        base = str(Path(name_or_path).parent / base) if base.endswith(".toml") else base
    return _merged(_with_bases(base, (*seen, str(name_or_path))), table)


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> Table:
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        both = isinstance(old, dict) and isinstance(value, dict)
        result[key] = _merged(old, value) if both and old is not None else value
    return result


@cache
def _schema() -> Table:
    text = (resources.files("quantable.targets") / "schema.json").read_text("utf-8")
    schema: Table = json.loads(text)
    return schema


def check(table: Table, where: str) -> None:
    """Refuse a description that breaks the schema.

    Raises:
        OptionError: Names the key.
    """
    # jsonschema takes a tenth of a second to import: only who loads a target pays for it.
    from jsonschema import Draft202012Validator

    errors = sorted(
        Draft202012Validator(_schema()).iter_errors(table), key=lambda e: (list(e.path), e.message)
    )
    if errors:
        message, help_text = _explain(errors[0])
        raise OptionError(message, where=where, help=help_text)


def _explain(error: Any) -> tuple[str, str]:
    key = ".".join(str(part) for part in error.absolute_path) or "the top level"
    if error.validator == "additionalProperties" and isinstance(error.instance, dict):
        known = sorted(error.schema.get("properties", ()))
        unknown = sorted(name for name in error.instance if name not in known)
        near = difflib.get_close_matches(unknown[0], known, n=3)
        hint = f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(known)}"
        return f"key '{key}': unknown key '{unknown[0]}'", hint
    if error.validator == "required":
        missing = [name for name in error.validator_value if name not in error.instance]
        return (
            f"key '{key}': expected key '{missing[0]}', found none",
            "quantable list targets shows the targets that can be used as they are",
        )
    expected = {
        "type": lambda: f"type {error.validator_value}",
        "enum": lambda: "one of " + ", ".join(repr(v) for v in error.validator_value),
        "minimum": lambda: f"at least {error.validator_value}",
        "maximum": lambda: f"at most {error.validator_value}",
        "exclusiveMinimum": lambda: f"more than {error.validator_value}",
        "minItems": lambda: f"at least {error.validator_value} entries",
        "pattern": lambda: f"text that matches {error.validator_value}",
    }[error.validator]()
    return f"key '{key}': expected {expected}, found {error.instance!r}", ""
