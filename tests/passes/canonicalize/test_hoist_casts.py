"""Casts that pass what moves integers, and those that do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

HEAD = "x: i64[2,3]; t: i64[3] = [2, 1, 3]; i: i64[1] = [0]\n"


def test_a_chain_of_moves(rewrite: Callable[[str, str], Any]) -> None:
    body = "a = Reshape(x, t)\nb = Transpose(a) {perm=[1,0,2]}\ny = Cast(b) {to=1}\nreturn y"
    after = rewrite("hoist-casts", HEAD + body).after
    assert [op.kind for op in after.operations] == ["Cast", "Reshape", "Transpose"]


@pytest.mark.parametrize(
    "body",
    [
        "a = Reshape(x, t)\ny = Cast(a) {to=6}\nreturn y",
        "a = Reshape(x, t)\ny = Cast(a) {to=1}\nreturn y, a",
        "a = Reshape(x, t)\ny = Cast(a) {to=1}\nz = Cast(a) {to=6}\nreturn y, z",
        "a = Gather(x, i) {axis=0}\ny = Cast(a) {to=1}\nreturn y",
        "f = Cast(x) {to=1}\na = Reshape(f, t)\ny = Cast(a) {to=1}\nreturn y",
    ],
)
def test_others_stay(body: str, rewrite: Callable[[str, str], Any]) -> None:
    outcome = rewrite("hoist-casts", HEAD + body)
    assert outcome.after.operations == outcome.before.operations
