"""Count the instructions of every step of emitted C code, in QEMU's user mode.

Counts are the same in every run. QEMU knows nothing of cycles.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from quantable.adapters.c_compiler import Array, compile_c
from quantable.adapters.c_program import ProgramModel
from quantable.ir import UserError

_ELSEWHERE = ("main", "fread", "fwrite", "_IO_fread", "_IO_fwrite", "quantable_close", "exit")
"""Functions whose instructions are no step's, though they follow one."""


def count_instructions(
    model: ProgramModel, inputs: Mapping[str, Array], *, nm: str, compiler: str = "gcc"
) -> dict[int, int]:
    """Return the instructions of each step, by its number in the manifest, over all samples.

    Args:
        model: Code that a user-mode emulator of QEMU runs.
        inputs: As for `ProgramModel.run`.
        nm: The program that lists symbols of the emulated machine, ``aarch64-linux-gnu-nm``.
        compiler: The compiler of this machine, for the plugin.

    Raises:
        UserError: The compiler or the emulator is missing, or the emulator has no plugins.
    """
    emulator = model.runner[0]
    if not Path(emulator).name.startswith("qemu-"):
        raise UserError(
            f"expected an emulator of QEMU, found '{emulator}'", help="for instance qemu-aarch64"
        )
    with tempfile.TemporaryDirectory(prefix="quantable-") as name:
        folder = Path(name)
        plugin = _build(folder, compiler)
        addresses = _functions(model.program, nm)
        prefix = f"{model.manifest['prefix']}_step_"
        steps = {n: a for n, a in addresses.items() if n.startswith(prefix)}
        others = [addresses[n] for n in _ELSEWHERE if n in addresses]
        marked = [*steps.values(), *others]
        (folder / "entries").write_text("".join(f"{a:x}\n" for a in marked), "utf-8")
        counts = folder / "counts"
        options = ["-plugin", f"{plugin},entries={folder / 'entries'},counts={counts}"]
        model.run(inputs, options)
        if not counts.is_file():
            raise UserError("the emulator counted nothing", help="it has to be QEMU, with plugins")
        found = [int(line) for line in counts.read_text("utf-8").split()]
    numbers = [int(n.removeprefix(prefix).partition(".")[0]) for n in steps]
    return dict(zip(numbers, found[1:], strict=False))


def _build(folder: Path, compiler: str) -> Path:
    source, plugin = folder / "counts.c", folder / "counts.so"
    text = (files("quantable.adapters") / "qemu" / "counts.c").read_text("utf-8")
    source.write_text(text, encoding="utf-8")
    compile_c(compiler, ["-O2", "-shared", "-fPIC"], [source], plugin)
    return plugin


def _functions(program: Path, nm: str) -> dict[str, int]:
    """Return the address of every function of a program."""
    try:
        listed = subprocess.run([nm, str(program)], capture_output=True, text=True, check=True)
    except FileNotFoundError as error:
        raise UserError(
            f"no program '{nm}' on this machine", help="it is one of the compiler's binutils"
        ) from error
    rows = [line.split() for line in listed.stdout.splitlines()]
    return {row[2]: int(row[0], 16) for row in rows if len(row) == 3 and row[1] in "tTwW"}
