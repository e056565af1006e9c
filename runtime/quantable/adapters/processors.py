"""The cores that can be emulated: how code is compiled for them, and the boards that have them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from quantable.ir import UserError

GCC = "arm-none-eabi-gcc"
CLANG = "clang-19"
EMULATOR = "qemu-system-arm"
SIZE = "arm-none-eabi-size"
_PACKAGES = {
    GCC: "gcc-arm-none-eabi libnewlib-arm-none-eabi",
    SIZE: "binutils-arm-none-eabi",
    EMULATOR: "qemu-system-arm",
    CLANG: "clang-19",
}


@dataclass(frozen=True, slots=True)
class Board:
    """What is emulated.

    Attributes:
        name: As the emulator calls it.
        script: The linker script.
        macros: What board.c is told.
        ticks: Of its clock, in a microsecond.
    """

    name: str
    script: str
    macros: tuple[str, ...]
    ticks: int


@dataclass(frozen=True, slots=True)
class Processor:
    """A core: compiler flags, the board that has it, and the compiler; gcc links."""

    flags: tuple[str, ...]
    board: Board
    compiler: str = GCC

    @property
    def tools(self) -> tuple[str, ...]:
        """Programs that building and running takes."""
        return tuple(dict.fromkeys((GCC, self.compiler, SIZE, EMULATOR)))

    def compile_flags(self) -> list[str]:
        """Return the flags of the compiler; clang is told where gcc's C library is."""
        if self.compiler == GCC:
            return list(self.flags)
        command = [GCC, "-print-file-name=libc.a"]
        found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        headers = Path(found.strip()).resolve().parent.parent / "include"
        unused = "-Wno-unused-command-line-argument"  # libraries, where only an object is made
        return ["--target=arm-none-eabi", unused, *self.flags, "-isystem", str(headers)]


def _mps2(name: str) -> Board:
    return Board(name, "mps2.ld", (), 25)


_AN547 = Board("mps3-an547", "mps3.ld", ("-DBOARD_MPS3",), 32)
_M55 = ("-mcpu=cortex-m55", "-mthumb", "-mfloat-abi=hard")

PROCESSORS: Mapping[str, Processor] = {
    "cortex-m4": Processor(
        ("-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"),
        _mps2("mps2-an386"),
    ),
    "cortex-m4-nofp": Processor(
        ("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=soft"), _mps2("mps2-an386")
    ),
    "cortex-m7": Processor(
        ("-mcpu=cortex-m7", "-mthumb", "-mfpu=fpv5-d16", "-mfloat-abi=hard"),
        _mps2("mps2-an500"),
    ),
    "cortex-m55": Processor(_M55, _AN547, CLANG),
    "cortex-m55-gcc": Processor(_M55, _AN547),
}
"""By name. gcc 12 moves predicates of vectors to and fro, so that clang is what counts."""


def processor_named(name: str) -> Processor:
    """Return a row of `PROCESSORS`.

    Raises:
        UserError: There is none of this name.
    """
    if name not in PROCESSORS:
        raise UserError(
            f"expected a processor of {', '.join(PROCESSORS)}, found '{name}'",
            help="name one of them",
        )
    return PROCESSORS[name]


def missing_tools(name: str = "cortex-m4") -> tuple[str, ...]:
    """Return the programs that this machine lacks for a processor."""
    return tuple(tool for tool in processor_named(name).tools if shutil.which(tool) is None)


def require_tools(name: str) -> None:
    """Refuse to go on without them.

    Raises:
        UserError: A tool is missing.
    """
    missing = missing_tools(name)
    if missing:
        packages = " ".join(dict.fromkeys(_PACKAGES[tool] for tool in missing))
        raise UserError(
            f"expected {', '.join(missing)} on this machine, found none",
            help=f"install them; on Debian: apt-get install {packages}",
        )
