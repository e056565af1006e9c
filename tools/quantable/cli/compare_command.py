"""`quantable compare`: where do two stages begin to compute something else?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from quantable.cli.comparison import DIFFERENT, SAME, Comparison
from quantable.cli.operation_options import operations_of, operations_option
from quantable.cli.options import (
    FILE,
    json_option,
    preprocessing_of,
    preprocessing_options,
    quiet_option,
    samples_option,
)
from quantable.cli.output import progress, show, table


@click.command("compare", cls=Comparison)
@click.argument("before", type=FILE, metavar="A")
@click.argument("after", type=FILE, metavar="B")
@click.option("--data", required=True, help="A .npz or .npy file, or a folder of images.")
@preprocessing_options
@samples_option
@click.option(
    "--threshold",
    type=float,
    default=20.0,
    show_default=True,
    help="Signal-to-noise ratio in dB that every value must reach; inf: equal.",
)
@click.option(
    "--origin", type=FILE,
    help="Quantable file that an integer one was lowered from; default: found beside it.",
)  # fmt: skip
@quiet_option
@operations_option
@json_option
def command(
    before: Path,
    after: Path,
    data: str,
    samples: int | None,
    threshold: float,
    origin: Path | None,
    quiet: bool,
    as_json: bool,
    **how: Any,
) -> int:
    """Run two stages, or a stage and an emitted folder, and compare every value they share.

    Names the first operation beyond the threshold. Exit code 0: none is; 1: one is; 2: trouble.

    \b
    Example:
      quantable compare 04-opt.qir 05-lower.qir --data test.npz --scale 1/255
      quantable compare 06-plan.qir build/ --data test.npz --threshold inf
    """
    from quantable.driver.compare import compare

    with progress("comparing", quiet=quiet) as count:
        found = compare(
            before, after, data, preprocessing_of(how), samples=samples,
            threshold_db=threshold, origin=origin, progress=count,
            operations=operations_of(),
        )  # fmt: skip
    if as_json:
        show(found.facts(), as_json=True)
    else:
        click.echo(_verdict(found))
        table(_COLUMNS, [_row(value) for value in found.values], as_json=False)
    return SAME if found.first is None else DIFFERENT


_COLUMNS = ("value", "operation", "SQNR dB", "cosine", "max error", "differing", "ties")


def _verdict(found: Any) -> str:
    first = found.first
    if first is None:
        return f"same within {found.threshold_db:g} dB: {len(found.values)} values"
    return f"different: first beyond {found.threshold_db:g} dB: {first.operation.where()}"


def _row(value: Any) -> tuple[str, ...]:
    measure = value.measure
    return (
        value.value, f"{value.operation.name} ({value.operation.kind})",
        "equal" if not measure.differing else _number(measure.sqnr_db, ".2f"),
        _number(measure.cosine, ".6f"), f"{measure.max_abs:.4g}",
        f"{measure.differing} of {measure.elements}", _number(value.tie_share, ".1%"),
    )  # fmt: skip


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
