"""`quantable validate`: are the claims true?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from quantable.cli.operation_options import operations_of, operations_option
from quantable.cli.options import (
    FILE,
    json_option,
    preprocessing_of,
    preprocessing_options,
    quiet_option,
    samples_option,
)
from quantable.cli.output import progress, table


@click.command("validate")
@click.argument("directory", type=FILE, metavar="BUILD")
@click.option("--data", required=True, help="A .npz or .npy file, or a folder of images.")
@preprocessing_options
@samples_option
@click.option("--target", help="Description file, where the target is none of the shipped ones.")
@click.option("--compiler", multiple=True, help="For C: compilers to use; default: gcc.")
@click.option(
    "--flags",
    multiple=True,
    help="For C: flags, each tried; default: -O2, and what the target's kernels tell apart.",
)
@click.option("--threads", default=1, show_default=True, help="For C: how many share a run.")
@click.option(
    "--runner",
    default="",
    help="For C of another machine: the emulator that runs it, with its options.",
)
@click.option(
    "--custom-ops", multiple=True, type=FILE,
    help="For ONNX: a shared library with ONNX Runtime's kernels of user operations.",
)  # fmt: skip
@quiet_option
@operations_option
@json_option
def command(
    directory: Path,
    data: str,
    samples: int | None,
    target: str | None,
    compiler: tuple[str, ...],
    flags: tuple[str, ...],
    threads: int,
    runner: str,
    custom_ops: tuple[Path, ...],
    quiet: bool,
    as_json: bool,
    **how: Any,
) -> int:
    """Compare what was compiled with the reference, in the target's real runtime.

    Prints every claim and whether it held. Exit code 0: all did; 1: one did not.

    \b
    Example:
      quantable validate build/ --data test.npz --scale 1/255
      quantable validate build/ --data test.npz --compiler gcc --compiler clang --flags -O3
      quantable validate build/ --data test.npz --threads 2
      quantable validate build/ --data test.npz --compiler aarch64-linux-gnu-gcc \\
        --flags '-O2 -march=armv8.2-a+dotprod' --runner 'qemu-aarch64 -cpu max'
    """
    from quantable.driver.validate import validate

    with progress("comparing", quiet=quiet) as count:
        claims = validate(
            directory, data, preprocessing_of(how), samples=samples,
            target=target,
            compilers=compiler or ("gcc",), flags=flags, threads=threads,
            runner=runner.split(), operations=operations_of(), custom_ops=custom_ops,
            progress=count,
        )  # fmt: skip
    rows = [(claim.name, "held" if claim.held else "FAILED", claim.found) for claim in claims]
    table(("claim", "result", "found"), rows, as_json=as_json)
    return 0 if all(claim.held for claim in claims) else 1
