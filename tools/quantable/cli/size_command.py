"""`quantable size`: how much room does what was emitted take?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from quantable.cli.options import FILE, json_option
from quantable.cli.output import show, table


@click.command("size")
@click.argument("directory", type=FILE, metavar="BUILD")
@click.option("--compiler", default="gcc", show_default=True, help="C compiler, a cross one too.")
@click.option("--flags", default="-O2", show_default=True, help="Its flags.")
@json_option
def command(directory: Path, compiler: str, flags: str, as_json: bool) -> None:
    """Compile emitted C code and show the bytes of its code, constants, arena and stack.

    The stack is that of the longest chain of calls, without functions of the C library.

    \b
    Example:
      quantable size build/
      quantable size build/ --compiler arm-none-eabi-gcc --flags "-O2 -mcpu=cortex-m4 -mthumb"
    """
    from quantable.adapters.c_compiler import read_manifest
    from quantable.adapters.c_size import measure_sizes

    sizes = measure_sizes(directory, compiler=compiler, flags=flags.split())
    facts = asdict(sizes)
    steps = facts.pop("steps")
    layers = read_manifest(directory)["layers"]
    assert isinstance(layers, list)  # measure_sizes read it
    rows = [
        {**step, "operation": layer["name"], "kind": layer["kind"]}
        for step, layer in zip(steps, layers, strict=True)
    ]
    if as_json:
        show({**facts, "steps": rows}, as_json=True)
        return
    show(facts, as_json=False)
    columns = ("step", "kind", "code", "constants", "operation")
    table(columns, [[row[column] for column in columns] for row in rows], as_json=False)
