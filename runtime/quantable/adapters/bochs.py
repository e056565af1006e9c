"""Run programs on a PC that Bochs emulates: it has AVX-512 where no processor at hand does.

The program has no operating system: what a reset starts reads it and its inputs from a disk; it
writes to a port, which the emulator passes on to its standard output (``boards/pc``).
"""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

from quantable.ir import InternalError, UserError

_BEGIN = b"QUANTABLE BOARD\n"
_FILES = {b"o": "outputs.bin", b"c": "counts.bin"}
_SECTOR = 512
_CYLINDER = 16 * 63 * _SECTOR
"""A disk has whole ones."""
_GIVEN = 128
"""MB in front of the inputs (``pc.ld``), which may take the rest of the memory."""
_MEMORY = 512
_CONFIGURATION = """\
display_library: rfb, options="timeout=0"
megs: {memory}
cpu: model={model}, count=1, reset_on_triple_fault=0
romimage: file=boot.rom, address=0xffff0000
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=disk, path=disk.bin, mode=flat, cylinders={cylinders}, heads=16, spt=63
port_e9_hack: enabled=1
sound: driver=dummy
plugin_ctrl: unmapped=1, biosdev=0, speaker=0, extfpuirq=0, parallel=0, serial=0, gameport=0
log: bochs.log
panic: action=fatal
error: action=report
info: action=ignore
debug: action=ignore
"""


def emulate(program: Path, emulator: str, model: str, timeout: float) -> None:
    """Run a linked program on inputs.bin beside it; leave outputs.bin and counts.bin there.

    Args:
        program: ELF, of the layout of ``pc.ld``.
        emulator: Bochs.
        model: Its name of a processor.
        timeout: Seconds.

    Raises:
        UserError: The emulator does not end in time, or inputs have no room.
        InternalError: The program ends with a status of its own, or by a fault.
    """
    folder = program.parent
    disk = _disk(program, (folder / "inputs.bin").read_bytes())
    (folder / "disk.bin").write_bytes(disk)
    text = _CONFIGURATION.format(memory=_MEMORY, model=model, cylinders=len(disk) // _CYLINDER)
    (folder / "bochs.txt").write_text(text, "utf-8")
    (folder / "commands.txt").write_text("c\n", "utf-8")  # for builds with a debugger
    command = [emulator, "-q", "-f", "bochs.txt", "-rc", "commands.txt"]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, check=False, timeout=timeout,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise UserError(
            f"the emulator did not end within {timeout:g} s", help="give it fewer samples"
        ) from error
    _unpack(done.stdout, done.stderr, folder)


def _disk(program: Path, given: bytes) -> bytes:
    """Write what a reset starts; return a disk with the rest of the program and its inputs."""
    if len(given) > (_MEMORY - _GIVEN) << 20:
        raise UserError(
            f"expected inputs that fit the emulated memory, found {len(given)} bytes",
            help="give it fewer samples",
        )
    found = []
    for name, choice in (("boot.rom", "-j"), ("program.bin", "-R")):
        path = program.parent / name
        command = ["objcopy", "-O", "binary", choice, ".rom", str(program), str(path)]
        subprocess.run(command, capture_output=True, check=True)
        found.append(path.read_bytes())
    parts = [_padded(found[1], _SECTOR), _padded(given, _SECTOR)]
    head = struct.pack("<2I", *(len(part) // _SECTOR for part in parts))
    return _padded(b"".join([_padded(head, _SECTOR), *parts]), _CYLINDER)


def _padded(data: bytes, unit: int) -> bytes:
    return data + bytes(-len(data) % unit)


def _unpack(printed: bytes, said: bytes, folder: Path) -> None:
    """Write the files whose pieces the emulator printed."""
    _, _, rest = printed.partition(_BEGIN)
    pieces: dict[str, list[bytes]] = {name: [] for name in _FILES.values()}
    while rest[:1] in _FILES:
        (size,) = struct.unpack_from("<I", rest, 1)
        pieces[_FILES[rest[:1]]].append(rest[5 : 5 + size])
        rest = rest[5 + size :]
    if rest[:1] != b"q":
        reason = said.decode("utf-8", "replace").strip().splitlines()[-2:]
        raise InternalError(f"the emulated program ended by a fault: {' '.join(reason)}")
    (code,) = struct.unpack_from("<I", rest, 5)
    if code:
        raise InternalError(f"the emulated program ended with code {code}")
    for name, found in pieces.items():
        (folder / name).write_bytes(b"".join(found))
