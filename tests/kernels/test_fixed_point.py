"""Requantization in integers against that in floats, around every tie and at both ends."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest

from quantable.adapters.c_compiler import STRICT, compile_c
from quantable.backends.c.fixed_point import fixed_point
from quantable.ir import DType
from quantable.kernels import header
from tests.kernels.conftest import Network

PROGRAM = r"""
#include <stdio.h>
#include "q_fixed.h"
typedef struct { int32_t reach; float multiplier; q_output out; q_fixed fixed; } row;
static const row rows[] = {
#include "rows.inc"
};
static long checked, rare;
static int differs(const row *r, int64_t acc) {
  if (acc < -(int64_t)r->reach || acc > r->reach) return 0;
  const uint32_t bits = q_representation(r->multiplier);
  const int32_t fixed = q_fixed_multiplier(&r->fixed, bits);
  const int32_t want = q_requantize((int32_t)acc, r->multiplier, &r->out);
  const int32_t found = q_fixed_requantize(&r->fixed, (int32_t)acc, fixed, bits);
  const uint32_t sum = (uint32_t)q_upper((int32_t)((uint32_t)acc << r->fixed.shift), fixed);
  checked++;
  rare += sum + r->fixed.addend << r->fixed.left < r->fixed.near;
  if (want == found) return 0;
  printf("acc %ld: expected %d, found %d\n", (long)acc, want, found);
  return 1;
}
int main(void) {
  uint32_t random = 1;
  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
    const row *r = &rows[i];
    const int32_t step = r->out.clamp_max > 999 ? 61 : 1;
    for (int32_t y = r->out.clamp_min - 1; y <= r->out.clamp_max; y += step) {
      const double tie = (y - r->out.zero_point + 0.5) / (double)r->multiplier;
      for (int near = -4; near <= 4 && tie > -3e9 && tie < 3e9; near++) {
        if (differs(r, (int64_t)tie + near)) return 1;
      }
    }
    for (int j = 0; j < 400; j++) {
      random = random * 1664525u + 1013904223u;
      if (differs(r, (int64_t)((double)(int32_t)random / 2147483648.0 * r->reach))) return 1;
    }
    if (differs(r, r->reach) || differs(r, -(int64_t)r->reach) || differs(r, 0)) return 1;
  }
  printf("%ld %ld\n", checked, rare);
  return 0;
}
"""


class _Step:
    """What `fixed_point` asks of a step."""

    def __init__(self, facts):
        self.operation = self
        self._facts = facts

    def int_attribute(self, name):
        return self._facts[name]

    def requantization(self):
        return ""


def _rows(seed, count):
    """Draw multipliers that are usual, extreme, or make ties: powers of two and their multiples."""
    network, lines = Network(seed), []
    random = network.random
    for _ in range(count):
        dtype = DType.UINT8 if random.random() < 0.7 else DType.INT16
        facts = network.requantization(dtype)
        kinds = [
            np.float32(2.0 ** random.uniform(-14, -2)), np.float32(2.0 ** random.integers(-14, 1)),
            np.float32(random.integers(1, 99) * 2.0 ** random.integers(-18, -6)),
            np.float32(2.0 ** random.uniform(-60, 30)), np.float32(1e-40), np.float32(3e38),
        ]  # fmt: skip
        multiplier = kinds[int(random.choice(6, p=[0.5, 0.15, 0.2, 0.1, 0.025, 0.025]))]
        reach = int(min(2.0 ** random.uniform(0, 31), 2**31 - 1))
        other = min(float(multiplier) * random.choice([1, 0.01, 8]), 1e38)
        all_of_layer = np.array([multiplier, other], np.float32)
        fixed = fixed_point(_Step(facts), reach, all_of_layer).initializer()
        out = f"{{{facts['y_zero_point']}, {facts['clamp_min']}, {facts['clamp_max']}}}"
        lines.append(f"{{{reach}, {float(multiplier).hex()}f, {out}, {fixed}}},")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.fuzz)])
def test_integers_round_as_floats_do(tmp_path, seed):
    """Ties are where both could differ, and where bits of floats decide, seldom elsewhere."""
    for name in ("q_fixed.h", "q_base.h"):
        (tmp_path / name).write_text(header(name), "utf-8")
    (tmp_path / "rows.inc").write_text(_rows(seed, 300 if seed == 1 else 3000), "utf-8")
    source = tmp_path / "check.c"
    source.write_text(PROGRAM, "utf-8")
    flags = [*STRICT, "-O2", "-fsanitize=undefined", "-fno-sanitize-recover", f"-I{tmp_path}"]
    compile_c("gcc", [*flags, "-Wno-parentheses"], [source], tmp_path / "check")
    done = subprocess.run([tmp_path / "check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    checked, rare = map(int, done.stdout.split())
    assert checked > 100_000
    assert 0 < rare < checked
