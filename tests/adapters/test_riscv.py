"""The emulated RISC-V machine: what it refuses, what it counts, and its own library."""

from __future__ import annotations

import json
import math
import subprocess
from importlib.resources import files

import numpy as np
import pytest

from quantable.adapters.riscv import EmulatedModel
from quantable.adapters.riscv_program import missing_tools
from quantable.ir import InternalError, UserError

COUNTED = r"""#include "model.h"
int counted_run(void *arena, size_t size, const uint8_t *in0, int16_t *out0) {
  (void)arena;
  (void)size;
  uint32_t turns = in0[0] * 1000u;
  __asm__ volatile("1: nop\naddi %0, %0, -1\nbnez %0, 1b" : "+r"(turns));
  out0[0] = (int16_t)-in0[0];
  out0[1] = in0[1];
  return in0[0] == 255 ? -2 : 0;
}
"""
LIBRARY = r"""
#include <stdio.h>
#include <stdlib.h>
%s
int main(int count, char **values) {
  for (int i = 1; i < count; i++) {
    const double x = atof(values[i]);
    printf("%%a %%a\n", board_sqrt(x < 0 ? -x : x), board_rint(x));
  }
}
"""


@pytest.fixture
def counted(tmp_path):
    """Code by hand whose instructions follow from its input."""
    tensor = {
        "scale": None, "zero_point": 0, "clamp_min": 0, "clamp_max": 255, "shape": [2],
    }  # fmt: skip
    manifest = {
        "format": "quantable-c", "abi_version": 1, "prefix": "counted", "arena_bytes": 0,
        "arena_alignment": 16, "layers": [],
        "inputs": [{**tensor, "name": "x", "value": "x", "dtype": "uint8"}],
        "outputs": [{**tensor, "name": "y", "value": "y", "dtype": "int16"}],
    }  # fmt: skip
    signature = "int counted_run(void *arena, size_t size, const uint8_t *in0, int16_t *out0);\n"
    header = f"#include <stddef.h>\n#include <stdint.h>\n{signature}"
    (tmp_path / "model.h").write_text(header)
    (tmp_path / "model.c").write_text(COUNTED)
    (tmp_path / "model_weights.c").write_text("typedef int nothing;\n")
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    return tmp_path


def test_missing_tools_are_named_with_their_packages(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"expected riscv64-unknown-elf-gcc, .*qemu") as caught:
        EmulatedModel(tmp_path)
    assert "apt-get install gcc-riscv64-unknown-elf" in str(caught.value)


def test_the_library_of_the_machine_rounds_as_the_standard_says(tmp_path):
    """Square roots and integers of doubles, which layer normalization asks for."""
    text = (files("quantable.adapters") / "virt" / "board.c").read_text("utf-8")
    functions = text[text.index("/* Rounded to nearest, bit by bit") :]
    functions = functions.replace("double sqrt(", "double board_sqrt(")
    functions = functions.replace("double rint(", "double board_rint(")
    source = tmp_path / "library.c"
    includes = "#include <stdint.h>\n#include <string.h>\n"
    source.write_text(LIBRARY % (includes + functions))
    subprocess.run(["gcc", "-O2", str(source), "-o", str(tmp_path / "library")], check=True)
    random = np.random.default_rng(1)
    drawn = [*(2.0 ** random.uniform(-20, 63, 400)), *(random.integers(-9, 9, 40) + 0.5), 2.0**52]
    values = [float(value) for value in drawn]
    command = [str(tmp_path / "library"), *map(repr, values)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")
    for value, line in zip(values, lines, strict=False):
        root, rounded = map(float.fromhex, line.split())
        assert root == math.sqrt(abs(value))
        assert rounded == np.rint(value)


@pytest.mark.slow
@pytest.mark.parametrize("processor", ["rv32imac", "rv64gcv-256"])
def test_outputs_and_counts(counted, processor):
    """Three instructions a turn, exactly; a status ends the program."""
    if missing_tools():
        pytest.skip(f"needs {', '.join(missing_tools())}")
    model = EmulatedModel(counted, processor=processor)
    found = model.run({"x": np.array([[1, 7], [9, 8]], np.uint8)})
    np.testing.assert_array_equal(found.outputs["y"], [[-1, 7], [-9, 8]])
    few, many = found.instructions
    assert many - few == 8 * 1000 * 3
    assert 0 < found.stack_bytes < 1000
    with pytest.raises(UserError, match=r"expected a processor of rv32imac.*found 'z80'"):
        EmulatedModel(counted, processor="z80")
    with pytest.raises(InternalError, match="code 2"):
        model.run({"x": np.array([[255, 0]], np.uint8)})
