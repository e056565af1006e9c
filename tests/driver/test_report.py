"""The page of a compilation: what stays float is said once, by reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from quantable.driver.compile import Compilation
from quantable.driver.report import page


def test_operations_that_stay_float_are_grouped_by_reason(
    compiled: Callable[[str], tuple[Path, Compilation]],
) -> None:
    facts = compiled("onnxruntime")[1].facts
    rows = [
        {"operation": name, "kind": "Relu", "sources": [], "reason": reason}
        for name, reason in (("a", "no rule"), ("b", "tail"), ("c", "no rule"))
    ]
    remarks = [["dispatch", "operation 'a'", "no rule"], ["merge-pad", "operation 'p'", "stays"]]
    lines = page({**facts, "float_operations": rows, "remarks": remarks}).splitlines()
    assert "- no rule: `a` (Relu), `c` (Relu)" in lines
    assert "- tail: `b` (Relu)" in lines
    assert [line for line in lines if line.startswith(("- dispatch", "- merge-pad"))] == [
        "- merge-pad: operation 'p': stays"
    ]
