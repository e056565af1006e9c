"""The page of operators: what the tests of the standard say, and the table of all operations."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from quantable.bench.node_tests.judge import Status
from quantable.bench.node_tests.run import Outcome
from quantable.ir.standard_operations import (
    MICROSOFT,
    Role,
    StandardOperation,
    microsoft_operations,
    standard_operations,
)

DISPUTED = {
    "test_attention_4d_causal_fp16": "wants every step rounded to 16 bits; sums are kept in 32 "
    "here: 1 of 192 elements is two units in the last place off",
    "test_attention_4d_causal_fp16_expanded": "as test_attention_4d_causal_fp16, 2 of 192 elements",
    "test_dft_inverse": "wants the noise of a float32 transform, 2e-7, where the result is 0",
    "test_dft_inverse_opset19": "as test_dft_inverse",
    "test_resize_downsample_scales_cubic_align_corners": "divides by a fractional output length; "
    "the text of the standard and ONNX Runtime take the whole number",
    "test_resize_downsample_scales_linear_align_corners": "as the cubic one",
}
"""Tests with whose expected numbers we do not agree, and why."""

_TRAINING = "ai.onnx.preview.training."
_RULES = {
    Role.COMPUTE: "quantized", Role.ELEMENTWISE: "output quantized", Role.PASSIVE: "passive",
    Role.JOIN: "shares rows", Role.INDEX: "shapes, indices", Role.FLOAT: "float",
}  # fmt: skip
_HEAD = """# Operators

Written by `python -m quantable.bench.node_tests`; do not edit. Every test runs in a process that
may crash or hang without harm: the model is imported, executed by the float reference on the
inputs of the test, and compared with what the test wants, with the tolerance that the test has.
"""
_PREFIX = re.compile(r"^\d+ things? in this model cannot be imported: ")


def topic(outcome: Outcome) -> str:
    """Return what a test is about: inference, training, random numbers, or another domain."""
    rows = standard_operations()
    if any(kind.startswith(_TRAINING) for kind in outcome.kinds):
        return "training"
    if "training mode" in outcome.verdict.reason:
        return "training"
    if any(kind in rows and rows[kind].family == "random" for kind in outcome.kinds):
        return "random numbers"
    if any(kind.startswith("ai.onnx.ml.") for kind in outcome.kinds):
        return "another domain"
    return "inference"


def reason_of(outcome: Outcome) -> str:
    """Return why a test does not pass, in one line."""
    reason = DISPUTED.get(outcome.name, outcome.verdict.reason)
    return (
        _PREFIX.sub("", reason).replace("|", "\\|").replace("this operation is left out: it ", "")
    )


def page(outcomes: Sequence[Outcome], onnx_version: str) -> str:
    """Return the page."""
    parts = [
        _HEAD, f"The tests are those of onnx {onnx_version}.\n", "## Tests\n",
        *_summary(outcomes), "", "## Tests that do not pass\n", *_failures(outcomes), "",
        "## Operations\n", _LEGEND, *operation_rows(outcomes), "",
        "## Operations of ONNX Runtime\n", _MICROSOFT, *microsoft_rows(), "",
        *left_out_rows(), "",
    ]  # fmt: skip
    return "\n".join(parts)


_LEGEND = """What quantization does is by target. The letters say what each operand is, the last one
for all further ones: `v` a value, `w` weights, `b` a bias, `p` a constant that takes the row of the
value, `i` a shape, indices or a condition, `f` a real number. A target without a rule for an
operation leaves it float, or refuses the network early where it has integers alone. Shapes: `own`
where the pass infer-shapes knows them, else those that the onnx package found at the import. Tests:
passed of all node tests with the operation.
"""
_MICROSOFT = """Operations of the domain `com.microsoft`, which ONNX Runtime adds to the standard:
those that exporters, optimizers and quantizers write. Each is compared with ONNX Runtime in
`tests/reference/microsoft`.
"""


def _summary(outcomes: Sequence[Outcome]) -> Iterable[str]:
    yield "| tests | about | all | pass | share |"
    yield "|---|---|---|---|---|"
    groups = dict.fromkeys(outcome.group for outcome in outcomes)
    for group in groups:
        of_group = [outcome for outcome in outcomes if outcome.group == group]
        for about in ("inference", "training", "random numbers", "another domain"):
            held = [outcome for outcome in of_group if topic(outcome) == about]
            if held:
                passed = sum(outcome.verdict.status is Status.PASS for outcome in held)
                share = f"{100 * passed / len(held):.1f} %"
                yield f"| {group} | {about} | {len(held)} | {passed} | {share} |"


def _failures(outcomes: Sequence[Outcome]) -> Iterable[str]:
    yield "| test | about | how it ends | why |"
    yield "|---|---|---|---|"
    for outcome in outcomes:
        if outcome.verdict.status is not Status.PASS:
            status = "disputed" if outcome.name in DISPUTED else outcome.verdict.status.value
            yield f"| {outcome.name} | {topic(outcome)} | {status} | {reason_of(outcome)} |"


def operation_rows(outcomes: Sequence[Outcome]) -> Iterable[str]:
    """Yield the table of operations."""
    total: Counter[str] = Counter()
    passed: Counter[str] = Counter()
    for outcome in outcomes:
        if outcome.group == "node":
            total.update(outcome.kinds)
            if outcome.verdict.status is Status.PASS:
                passed.update(outcome.kinds)
    yield "| operation | family | opsets | quantization | shapes | tests |"
    yield "|---|---|---|---|---|---|"
    for row in standard_operations().values():
        yield f"{described(row)} {passed[row.kind]} of {total[row.kind]} |"


def microsoft_rows() -> Iterable[str]:
    """Yield the table of the operations of com.microsoft that are imported."""
    yield "| operation | family | version | quantization | shapes |"
    yield "|---|---|---|---|---|"
    for row in microsoft_operations().values():
        if not row.left_out:
            yield described(replace(row, kind=row.kind.removeprefix(f"{MICROSOFT}.")))


def left_out_rows() -> Iterable[str]:
    """Yield, by reason, the operations of com.microsoft that are not."""
    yield "| no import takes | because it |"
    yield "|---|---|"
    reasons = dict.fromkeys(row.left_out for row in microsoft_operations().values())
    for reason in filter(None, reasons):
        held = (row.kind for row in microsoft_operations().values() if row.left_out == reason)
        names = ", ".join(kind.removeprefix(f"{MICROSOFT}.") for kind in held)
        yield f"| {names} | {reason} |"


def described(row: StandardOperation) -> str:
    """Return the cells of an operation that its row alone determines."""
    versions = ", ".join(map(str, row.versions))
    rule = f"{_RULES[row.role]} `{row.slots}`" if row.slots else _RULES[row.role]
    rule = f"left out: {row.left_out}" if row.left_out else rule
    shapes = "own" if row.has_shape_function else "onnx"
    return f"| {row.kind} | {row.family} | {versions} | {rule} | {shapes} |"
