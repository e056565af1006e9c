"""Take networks of many families through the whole flow: ``python -m quantable.bench.families``.

Without options all of them run, and ``docs/networks.md`` is written.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from quantable.bench.families import FAMILIES, measure
from quantable.bench.families.family import Family
from quantable.bench.families.page import Row, page
from quantable.driver import api

PAGE = Path("docs/networks.md")


def measured(family: Family, form: str, folder: Path, targets: tuple[str, ...]) -> Row:
    """Write a model and take it through the flow, for the targets of C among others."""
    model = folder / f"{family.name}-{form}.onnx"
    family.forms[form](model)
    graph = api.canonicalize(api.import_model(model))
    quantized = measure.quantized(family, graph)
    return Row(
        family, form, measure.float_error(family, model, graph),
        measure.own_db(family, model, quantized), measure.peer_db(family, model),
        measure.agreement(family, quantized), measure.float_kinds(quantized),
        {target: measure.compiled(family, model, target) for target in targets},
    )  # fmt: skip


def main() -> int:
    """Measure; return 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--family", action="append", choices=list(FAMILIES), help="these alone")
    parser.add_argument("--target", action="append", default=[], help="these targets of C alone")
    every = "compile every form to C, not the first of each family alone"
    parser.add_argument("--every-form", action="store_true", help=every)
    parser.add_argument("--output", type=Path, help="the page to write")
    given = parser.parse_args()
    names = given.family or list(FAMILIES)
    targets = tuple(given.target) or measure.C_TARGETS
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for family in (FAMILIES[name] for name in names):
            for index, form in enumerate(family.forms):
                wanted = targets if given.every_form or not index else ()
                rows.append(measured(family, form, Path(scratch), wanted))
                sys.stdout.write(f"{family.name} {form}: {rows[-1].misses() or 'as expected'}\n")
                sys.stdout.flush()
    is_whole = not given.family and not given.target
    output = given.output or (PAGE if is_whole else None)
    if output is not None:
        text = page(rows, measure.CALIBRATION, measure.EVALUATION)
        output.write_text(text, encoding="utf-8")
    return 1 if any(row.misses() for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
