"""Emulated machines: what they refuse, what they count, and the library of those that have none."""

from __future__ import annotations

import json
import math
import subprocess
from importlib.resources import files

import numpy as np
import pytest

from quantable.adapters.emulated import EmulatedModel
from quantable.adapters.processors import missing_tools
from quantable.ir import DataError, FormatError, InternalError, UserError

COUNTED = r"""#include "model.h"
int counted_run(void *arena, size_t size, const uint8_t *in0, int16_t *out0) {
  (void)arena;
  (void)size;
  uint32_t turns = in0[0] * 1000u;
#if defined(__arm__)
  __asm__ volatile("1: nop\nsubs %0, #1\nbne 1b" : "+r"(turns) : : "cc");
#elif defined(__riscv)
  __asm__ volatile("1: nop\naddi %0, %0, -1\nbnez %0, 1b" : "+r"(turns));
#else
  __asm__ volatile("1: nop\nsubl $1, %0\njnz 1b" : "+r"(turns) : : "cc");
#endif
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


@pytest.mark.parametrize(
    ("processor", "found", "package"),
    [("cortex-m4", "arm-none-eabi-gcc, .*qemu-system-arm", "gcc-arm-none-eabi"),
     ("rv32imac", "riscv64-unknown-elf-gcc, .*qemu-system-riscv32", "gcc-riscv64-unknown-elf"),
     ("x86-64-avx2", "gcc, .*bochs", "gcc binutils bochs")],
)  # fmt: skip
def test_missing_tools_are_named_with_their_packages(
    monkeypatch, tmp_path, processor, found, package
):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=f"expected {found}") as caught:
        EmulatedModel(tmp_path, processor=processor)
    assert f"apt-get install {package}" in str(caught.value)


def test_an_unknown_processor_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"expected a processor of cortex-m4.*found 'z80'"):
        EmulatedModel(tmp_path, processor="z80")


def test_the_library_of_the_machine_rounds_as_the_standard_says(tmp_path):
    """Square roots and integers of doubles, which layer normalization asks for."""
    text = (files("quantable.adapters") / "boards" / "bare" / "library.c").read_text("utf-8")
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
@pytest.mark.parametrize(
    ("processor", "inexact"),
    [("cortex-m4", 4), ("cortex-m55", 4), ("rv32imac", 0), ("rv64gcv-256", 0),
     ("x86-64-avx512vnni", 0)],
)  # fmt: skip
def test_outputs_and_counts(counted, processor, inexact):
    """Three instructions a turn; a status ends the program."""
    if missing_tools(processor):
        pytest.skip(f"needs {', '.join(missing_tools(processor))}")
    model = EmulatedModel(counted, processor=processor)
    found = model.run({"x": np.array([[1, 7], [9, 8]], np.uint8)})
    np.testing.assert_array_equal(found.outputs["y"], [[-1, 7], [-9, 8]])
    few, many = found.instructions
    assert abs(many - few - 8 * 1000 * 3) <= inexact
    assert 0 < found.stack_bytes < 1000
    with pytest.raises(InternalError, match="code 2"):
        model.run({"x": np.array([[255, 0]], np.uint8)})


@pytest.mark.slow
def test_refusals(counted, tmp_path):
    if missing_tools("cortex-m4"):
        pytest.skip(f"needs {', '.join(missing_tools('cortex-m4'))}")
    with pytest.raises(FormatError):
        EmulatedModel(tmp_path / "nowhere", processor="cortex-m4")
    with pytest.raises(DataError, match="is missing"):
        EmulatedModel(counted, processor="cortex-m4").run({})


@pytest.mark.slow
def test_a_fault_of_the_program_is_told(counted):
    """A processor without the instruction that the code has."""
    if missing_tools("x86-64-avx2"):
        pytest.skip(f"needs {', '.join(missing_tools('x86-64-avx2'))}")
    path = counted / "model.c"
    path.write_text(path.read_text().replace("1: nop", "ud2\\n1: nop"))
    model = EmulatedModel(counted, processor="x86-64-avx2")
    with pytest.raises(InternalError, match="ended by a fault"):
        model.run({"x": np.array([[1, 0]], np.uint8)})
