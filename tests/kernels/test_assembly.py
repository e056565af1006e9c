"""Functions in assembly say how much of the stack they take, since compilers cannot tell."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

FUNCTION = re.compile(
    r"^Q_(?:ASSEMBLY|TILE_FUNCTION) static void (?:Q_NAME\()?(\w+)(.*?)^}", re.MULTILINE | re.DOTALL
)
STACK = re.compile(r"^#define Q_STACK_(\w+) (\d+)$", re.MULTILINE)
PUSH = re.compile(r"\b(v?)push \{([^}]*)\}")
SAVED = 64
"""Bytes of Q_SAVE, which the functions of rv32 begin with."""


@pytest.mark.parametrize("folder", ["armv7em", "armv81m", "rv32"])
def test_every_function_in_assembly_says_what_it_pushes(folder):
    texts = [path.read_text("utf-8") for path in (files("quantable.kernels") / folder).iterdir()]
    known = {name: int(size) for text in texts for name, size in STACK.findall(text)}
    functions = {name: body for text in texts for name, body in FUNCTION.findall(text)}
    assert functions
    for name, body in functions.items():
        pushed = SAVED if " Q_SAVE" in body else 0
        for wide, registers in PUSH.findall(body):
            pushed += (8 if wide else 4) * (registers.count(",") + 1)
        assert known[name] == pushed, name


def test_what_scalar_risc_v_saves():
    text = (files("quantable.kernels") / "rv32" / "q_scalar_tile.h").read_text("utf-8")
    assert f'#define Q_SAVE \\\n  "addi sp, sp, -{SAVED}\\n"' in text
