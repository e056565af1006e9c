"""The table: the best of their levels against our first one."""

from __future__ import annotations

import pytest

from quantable.bench.cmsis_nn.measure import Count, sources
from quantable.bench.cmsis_nn.table import Row, steps_text, table
from quantable.ir import UserError


def _count(instructions, **more):
    facts = {"code_bytes": 1, "activation_bytes": 2, "scratch_bytes": 3, "stack_bytes": 4}
    return Count(instructions, steps={1: instructions}, **{**facts, **more})


def test_the_best_level_counts():
    row = Row(
        "net", ("-O2", "-O3"), (_count(5_000_000), _count(4_000_000, code_bytes=9)),
        (_count(1_000_000), _count(900_000)), 0.4,
    )  # fmt: skip
    lines = table([row, row]).splitlines()
    cells = [cell.strip() for cell in lines[2].strip("|").split("|")]
    assert cells == [
        "net", "5.00 M", "4.00 M", "1.00 M", "0.90 M", "75 %", "9 / 1", "2 + 3 / 2", "4 / 4", "0.4",
    ]  # fmt: skip
    assert lines[4].startswith("| all | 10.00 M | 8.00 M | 2.00 M | 1.80 M | 75 % |")
    assert steps_text(row).splitlines()[1].split() == ["1", "4000000", "1000000"]


def test_sources_of_bytes_are_chosen(tmp_path):
    with pytest.raises(UserError, match="expected a checkout of CMSIS-NN"):
        sources(tmp_path)
    (tmp_path / "Include").mkdir()
    (tmp_path / "Include" / "arm_nnfunctions.h").touch()
    folder = tmp_path / "Source" / "ConvolutionFunctions"
    folder.mkdir(parents=True)
    for name in ("a_s8.c", "a_f16.c", "a_s16.c", "kernel_s8_s16.c", "a_s4.c", "common.c"):
        (folder / name).touch()
    found = [path.name for path in sources(tmp_path)]
    assert found == ["a_s8.c", "common.c", "kernel_s8_s16.c"]
