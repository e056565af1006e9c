"""Run a program that a C compiler made, here or under an emulator."""

from __future__ import annotations

import errno
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from quantable.ir import UserError

LINKED = ("-static",)
"""Compiler flags for programs that an emulator runs: nothing of their machine has to be there."""
_PACKAGES: Mapping[str, str] = {"qemu-system-": "qemu-system", "qemu-": "qemu-user"}
"""What Debian calls the packages of emulators, by how names of their programs begin."""
_ANOTHER_MACHINE = "name an emulator, for instance --runner qemu-aarch64, or another compiler"


def find_runner(runner: Sequence[str]) -> list[str]:
    """Return the command of an emulator, its program with its path; nothing for none.

    Raises:
        UserError: There is no such program.
    """
    if not runner:
        return []
    program = shutil.which(runner[0])
    if program is None:
        packages = [p for begin, p in _PACKAGES.items() if runner[0].startswith(begin)]
        hint = f"; on Debian: apt-get install {packages[0]}" if packages else ""
        raise UserError(
            f"no emulator '{runner[0]}' on this machine",
            help=f"install it, or name another one{hint}",
        )
    return [program, *runner[1:]]


def run_program(
    runner: Sequence[str], program: Path, arguments: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """Run a program, under an emulator if one is given.

    Args:
        runner: As `find_runner` returns it.
        program: The program.
        arguments: Its arguments.

    Raises:
        UserError: It is one of another machine, or has instructions that the processor has not.
    """
    command = [*runner, str(program), *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise
        raise foreign_code() from error
    if "Invalid ELF image" in done.stderr:
        raise UserError(
            f"'{' '.join(runner)}' runs no programs of this compiler: {done.stderr.strip()}",
            help="name the compiler of the emulated machine, for instance aarch64-linux-gnu-gcc",
        )
    if done.returncode in (-signal.SIGILL, 128 + signal.SIGILL):
        where = f"the one of '{' '.join(runner)}'" if runner else "this one"
        raise UserError(
            f"the program has an instruction that the processor, {where}, has not",
            help="name another processor (for QEMU: -cpu max), or compile with other --flags",
        )
    return done


def foreign_code() -> UserError:
    """Return the error that code is for another machine than this one."""
    return UserError("the compiler makes code for another machine", help=_ANOTHER_MACHINE)
