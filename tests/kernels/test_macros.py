"""Headers of kernels are read after each other in one file, and keep out of each other's way."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import quantable.kernels

ROOT = Path(quantable.kernels.__file__).parent
SETS = sorted(path.name for path in ROOT.iterdir() if path.is_dir() and path.name[0] != "_")


def _defined(folder: str, *, lasting: bool) -> dict[str, str]:
    """Return the files of macros by name; `lasting` ones are still there behind their file."""
    found = {}
    for path in sorted((ROOT / folder).glob("*.h")):
        text = path.read_text("utf-8")
        gone = set(re.findall(r"^#undef (\w+)", text, re.MULTILINE)) if lasting else set()
        names = re.findall(r"^#define (\w+)", text, re.MULTILINE)
        found |= {name: path.name for name in names if name not in gone}
    return found


@pytest.mark.parametrize("folder", [name for name in SETS if name != "portable"])
def test_a_set_defines_no_macro_that_portable_headers_leave(folder):
    """Two had `Q_BEGIN`, and which one a layer got depended on what else the network had."""
    left, own = _defined("portable", lasting=True), _defined(folder, lasting=False)
    assert {name: own[name] for name in own.keys() & left.keys()} == {}


@pytest.mark.parametrize("folder", [name for name in SETS if name != "portable"])
def test_portable_headers_define_no_macro_that_a_set_leaves(folder):
    left, own = _defined(folder, lasting=True), _defined("portable", lasting=False)
    assert {name: own[name] for name in own.keys() & left.keys()} == {}


def test_there_are_sets():
    assert {"portable", "x86", "armv81m"} <= set(SETS)
