"""Networks of many families go through the whole flow: float, quantized, and as C."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from quantable.bench.families import FAMILIES, measure
from quantable.bench.families.family import Family, draw
from quantable.bench.families.page import Row, page
from quantable.driver import api
from quantable.ir import Graph

FORMS = [(name, form) for name, family in FAMILIES.items() for form in family.forms]
QUICK = {("lstm-bidirectional", "script-17"), ("gru-bidirectional", "script-17"),
         ("detector", "legacy-17"), ("decoder", "legacy-17")}  # fmt: skip
"""What runs by default: recurrent operations, outputs of any length, a cache that may be empty."""
IN_C = [(name, next(iter(family.forms))) for name, family in FAMILIES.items()]


def _marked(pairs: list[tuple[str, str]], quick: set[tuple[str, str]]) -> list[object]:
    return [
        pytest.param(*pair, marks=() if pair in quick else pytest.mark.slow, id="-".join(pair))
        for pair in pairs
    ]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> object:
    """Return a function that writes a model once."""
    folder = tmp_path_factory.mktemp("families")

    @functools.cache
    def write(name: str, form: str) -> Path:
        if form.startswith("dynamo") and not importlib.util.find_spec("onnxscript"):
            pytest.skip("onnxscript is not installed: torch.onnx.export(dynamo=True) needs it")
        path = folder / f"{name}-{form}.onnx"
        FAMILIES[name].forms[form](path)
        return path

    return write


def _canonical(model: Path) -> Graph:
    return api.canonicalize(api.import_model(model))


@pytest.mark.parametrize(("name", "form"), _marked(FORMS, QUICK))
def test_quantized_for_onnx_runtime(name: str, form: str, models: object) -> None:
    assert callable(models)
    family, model = FAMILIES[name], models(name, form)
    graph = _canonical(model)
    assert measure.float_error(family, model, graph) < 1e-5
    quantized = measure.quantized(family, graph)
    own = measure.own_db(family, model, quantized)
    assert own >= family.least_db
    assert measure.agreement(family, quantized).is_explained
    if (name, form) not in QUICK:
        assert own >= measure.peer_db(family, model)


@pytest.mark.parametrize(("name", "form"), _marked(IN_C, {("detector", "legacy-17")}))
def test_as_portable_c(name: str, form: str, models: object) -> None:
    assert callable(models)
    family = FAMILIES[name]
    code = measure.compiled(family, models(name, form), "c-portable")
    if family.fixed.refused:
        assert family.fixed.refused in code.refused
        return
    assert not code.refused
    assert [claim for claim in code.claims if not claim.held] == []
    assert code.db >= family.fixed.least_db


def test_a_family_is_the_same_every_time(tmp_path: Path) -> None:
    family = FAMILIES["gru-bidirectional"]
    for name in ("a", "b"):
        family.forms["script-17"](tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    first, second = (draw(family.sample, 3, seed=1) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert a.keys() == b.keys()
        assert all(np.array_equal(a[name], b[name]) for name in a)
    other = draw(family.sample, 1, seed=2)[0]
    assert not np.array_equal(first[0]["signal"], other["signal"])


def _row(family: Family, **changes: object) -> Row:
    values = {
        "family": family, "form": "f", "error": 0.0, "own": 99.0, "peer": 20.0,
        "agreement": measure.Agreement(1, 9, is_explained=True), "floats": {}, "code": {},
    }  # fmt: skip
    return Row(**{**values, **changes})  # type: ignore[arg-type]


def test_the_page_tells_what_is_missed() -> None:
    family, refused = FAMILIES["vit"], FAMILIES["detector"]
    assert "Every bar holds." in page([_row(family)], 16, 8)
    unexplained = measure.Agreement(1, 9, is_explained=False)
    failed = measure.Claim("integers equal the reference, gcc", held=False, found="3 of 9 differ")
    rows = [
        _row(family, own=5.0), _row(family, agreement=unexplained),
        _row(family, code={"c-portable": measure.Code(99.0, (failed,))}),
        _row(family, code={"c-portable": measure.Code(0.0, (), "cannot")}),
        _row(refused, code={"c-portable": measure.Code(99.0, ())}),
    ]  # fmt: skip
    assert [len(row.misses()) for row in rows] == [2, 1, 1, 1, 1]
    assert page(rows, 16, 8).count("- missed: ") == 6
