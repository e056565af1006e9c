"""Run emitted C code on an emulated RISC-V machine, and count its instructions."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from quantable.adapters import cortex_m
from quantable.adapters.riscv_program import Program, processor_named, require_tools


class EmulatedModel(cortex_m.EmulatedModel):
    """As that of Cortex-M; the processor is one of `quantable.adapters.riscv_program.PROCESSORS`.

    Counts of instructions are exact.
    """

    def __init__(
        self,
        build_dir: str | os.PathLike[str],
        *,
        flags: Sequence[str] = ("-O2",),
        processor: str = "rv32imac",
        is_profiled: bool = False,
    ) -> None:
        super().__init__(build_dir, flags=flags, processor=processor, is_profiled=is_profiled)

    def _require(self, processor: str) -> None:
        require_tools()
        processor_named(processor)

    def _program(self, folder: Path, flags: Sequence[str]) -> Program:
        return Program(folder, processor_named(self._processor_name), flags)
