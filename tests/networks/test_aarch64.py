"""Shared networks as code for AArch64, under an emulator: the integers of the reference."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from quantable.adapters.c_counts import count_instructions
from quantable.adapters.c_program import ProgramModel
from quantable.bench.datasets import NETWORKS
from quantable.driver.validate import validate
from tests.networks.conftest import Case

GCC, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64"
FORMS = ("-march=armv8.2-a+dotprod", "-march=armv8.2-a+dotprod+i8mm")
SMALL = ("resnet8", "dscnn_kws", "mobilenetv1_vww", "cct_cifar")
"""They have every kernel among them."""
INSTRUCTIONS_PER_PRODUCT = {FORMS[0]: 0.104, FORMS[1]: 0.073}
"""The most that resnet8 may take on average; measured, and a little more."""


def _require_tools() -> None:
    missing = [name for name in (GCC, EMULATOR) if shutil.which(name) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")


@pytest.mark.parametrize("case", [
    pytest.param(name, marks=pytest.mark.slow if name in SMALL else pytest.mark.fuzz)
    for name in NETWORKS
], indirect=True)  # fmt: skip
def test_emulated_code_gives_the_integers_of_the_reference(
    case: Case, compiled: Callable[[Case, str], Path]
) -> None:
    _require_tools()
    claims = validate(
        compiled(case, "aarch64-dotprod"), case.inputs("evaluation", 2), compilers=[GCC],
        flags=[f"-O2 {form}" for form in FORMS], runner=[EMULATOR, "-cpu", "max"],
    )  # fmt: skip
    assert sum("integers equal" in claim.name for claim in claims) == len(FORMS)
    assert [f"{claim.name}: {claim.found}" for claim in claims if not claim.held] == []


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", ["resnet8"], indirect=True)
def test_no_more_instructions_than_measured(
    case: Case, compiled: Callable[[Case, str], Path], form: str
) -> None:
    _require_tools()
    model = ProgramModel(
        compiled(case, "aarch64-dotprod"), compiler=GCC, flags=("-O2", form),
        runner=(EMULATOR, "-cpu", "max"),
    )  # fmt: skip
    (sample,) = case.inputs("evaluation", 1)
    inputs = {t.value: t.quantize(sample[t.name]) for t in model.inputs}
    counts = count_instructions(model, inputs, nm="aarch64-linux-gnu-nm")
    products = model.manifest["macs"]
    assert isinstance(products, int)
    assert sum(counts.values()) <= INSTRUCTIONS_PER_PRODUCT[form] * products
