"""Start emitted C code as a program of its own: what loading and the first run take together."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from quantable.adapters.c_compiler import compile_c, read_manifest
from quantable.ir import InternalError, UserError

_RESIDENT = "VmHWM:"
_MAIN = """\
#include <stdio.h>
#include <string.h>
#include "model.h"
static _Alignas({alignment}) unsigned char arena[{arena} + 1];
{tensors}
int main(void) {{
  char line[256];
  const int status = {prefix}_run(arena, {arena}, {arguments});
  FILE *file = fopen("/proc/self/status", "r");
  while (file != NULL && fgets(line, sizeof line, file) != NULL) {{
    if (strncmp(line, "VmHWM:", 6) == 0) {{
      fputs(line, stdout);
    }}
  }}
  return status;
}}
"""


@dataclass(frozen=True, slots=True)
class ColdStart:
    """What a fresh process takes.

    Attributes:
        seconds: From its start to its end, with one run: the median.
        best: The least.
        resident_bytes: The most memory that it held, its own and shared; 0 where not known.
    """

    seconds: float
    best: float
    resident_bytes: int


def cold_start(
    build_dir: Path, *, compiler: str = "gcc", flags: Sequence[str] = ("-O3",), starts: int = 9
) -> ColdStart:
    """Compile a program that runs a network once, and start it several times.

    Args:
        build_dir: Where the code was emitted.
        compiler: Name or path of the compiler.
        flags: Optimization and machine flags.
        starts: How often; one more comes before, so that the file is in memory.

    Raises:
        UserError: No such compiler, it rejects the code, or its programs cannot run here.
        FormatError: The directory does not hold emitted C code.
    """
    manifest: Mapping[str, Any] = read_manifest(build_dir)
    with tempfile.TemporaryDirectory(prefix="quantable-") as private:
        main, program = Path(private) / "main.c", Path(private) / "program"
        main.write_text(_main(manifest), encoding="utf-8")
        sources = [build_dir / "model.c", build_dir / "model_weights.c", main]
        compile_c(compiler, ["-std=c11", *flags, f"-I{build_dir}"], sources, program)
        _started(program)
        found = [_started(program) for _ in range(starts)]
    seconds = [taken for taken, _ in found]
    return ColdStart(median(seconds), min(seconds), max(held for _, held in found))


def _main(manifest: Mapping[str, Any]) -> str:
    lines, names = [], []
    for side in ("inputs", "outputs"):
        for index, facts in enumerate(manifest[side]):
            name, count = f"{side[:-1]}{index}", 1
            for dim in facts["shape"]:
                count *= dim
            lines.append(f"static {facts['dtype']}_t {name}[{count}];")
            names.append(name)
    return _MAIN.format(
        alignment=manifest["arena_alignment"], arena=manifest["arena_bytes"],
        prefix=manifest["prefix"], tensors="\n".join(lines), arguments=", ".join(names),
    )  # fmt: skip


def _started(program: Path) -> tuple[float, int]:
    """Return the seconds of one start, and the memory that the program said it held, in bytes."""
    start = perf_counter()
    try:
        done = subprocess.run([os.fspath(program)], capture_output=True, text=True, check=False)
    except OSError as error:
        raise UserError(
            f"the compiled program cannot run here: {error.strerror}",
            help="compile for this machine, or leave this measurement out",
        ) from error
    taken = perf_counter() - start
    if done.returncode:
        raise InternalError(f"the generated code returned status {done.returncode}")
    words = done.stdout.split()
    return taken, int(words[1]) * 1024 if words[:1] == [_RESIDENT] else 0
