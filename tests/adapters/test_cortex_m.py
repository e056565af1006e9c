"""The emulated board: what it refuses, and what it counts."""

from __future__ import annotations

import json

import numpy as np
import pytest

from quantable.adapters.cortex_m import EmulatedModel
from quantable.adapters.processors import missing_tools
from quantable.ir import DataError, FormatError, InternalError, UserError

COUNTED = r"""#include "model.h"
int counted_run(void *arena, size_t size, const uint8_t *in0, int16_t *out0) {
  (void)arena;
  (void)size;
  uint32_t turns = in0[0] * 1000u;
  __asm__ volatile("1: nop\nsubs %0, #1\nbne 1b" : "+r"(turns) : : "cc");
  out0[0] = (int16_t)-in0[0];
  out0[1] = in0[1];
  return in0[0] == 255 ? -2 : 0;
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
    with pytest.raises(UserError, match=r"expected arm-none-eabi-gcc, .*qemu-system-arm") as caught:
        EmulatedModel(tmp_path)
    assert "apt-get install gcc-arm-none-eabi" in str(caught.value)


@pytest.mark.slow
class TestEmulated:
    @pytest.fixture(autouse=True)
    def tools(self):
        if missing_tools():
            pytest.skip(f"needs {', '.join(missing_tools())}")

    @pytest.mark.parametrize("processor", ["cortex-m4", "cortex-m55"])
    def test_outputs_and_counts(self, counted, processor):
        """Three instructions a turn, to within two of each count."""
        if missing_tools(processor):
            pytest.skip(f"needs {', '.join(missing_tools(processor))}")
        model = EmulatedModel(counted, processor=processor)
        found = model.run({"x": np.array([[1, 7], [9, 8]], np.uint8)})
        np.testing.assert_array_equal(found.outputs["y"], [[-1, 7], [-9, 8]])
        few, many = found.instructions
        assert abs(many - few - 8 * 1000 * 3) <= 4
        assert 0 < found.stack_bytes < 1000

    def test_refusals(self, counted, tmp_path):
        with pytest.raises(UserError, match=r"expected a processor of cortex-m4.*found 'z80'"):
            EmulatedModel(counted, processor="z80")
        with pytest.raises(FormatError):
            EmulatedModel(tmp_path / "nowhere")
        model = EmulatedModel(counted)
        with pytest.raises(DataError, match="is missing"):
            model.run({})
        with pytest.raises(InternalError, match="code 2"):
            model.run({"x": np.array([[255, 0]], np.uint8)})
