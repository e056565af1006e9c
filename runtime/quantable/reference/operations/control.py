"""Operations of ONNX that run the regions inside them: If, Loop, Scan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from quantable.reference.site import Builder, Kernel, Site
from quantable.reference.tensors import signed_view


def _if(site: Site) -> Kernel:
    then, otherwise = site.regions["then_branch"], site.regions["else_branch"]
    count = len(site.operation.outputs)

    def run(condition: Tensor, *captured: Any) -> tuple[Any, ...]:
        return tuple((then if bool(condition) else otherwise)(*captured)[:count])

    return run


def _stacked(parts: Sequence[Tensor], axis: int, site: Site, output: int) -> Tensor:
    """Return what the iterations made as one tensor; of no iteration one of no element."""
    if parts:
        return torch.stack([signed_view(part) for part in parts], axis).view(parts[0].dtype)
    dtype = site.output_type(output)
    made = torch.float32 if dtype is None else site.torch_type(dtype)
    shape = site.output_shape(output) or (0,)
    known = [dim if isinstance(dim, int) else 0 for dim in shape]
    known[axis] = 0
    return torch.empty(known, dtype=made)


def _loop(site: Site) -> Kernel:
    body, captures = site.regions["body"], site.operation.captures
    carried = len(site.operation.inputs) - 2 - captures
    count = len(site.operation.outputs)

    def run(limit: Tensor | None, condition: Tensor | None, *rest: Any) -> tuple[Any, ...]:
        state, captured = list(rest[:carried]), rest[carried:]
        most = None if limit is None else int(limit.item())
        goes_on = condition is None or bool(condition)
        lines: list[list[Tensor]] = [[] for _ in range(count - carried)]
        step = 0
        while goes_on and (most is None or step < most):
            flag = torch.tensor(True) if condition is None else torch.tensor(goes_on)
            results = body(torch.tensor(step), flag, *state, *captured)
            # Without a condition as input, what the body says of it is ignored.
            goes_on = condition is None or bool(results[0])
            state = list(results[1 : 1 + carried])
            for line, part in zip(lines, results[1 + carried :], strict=False):
                line.append(part)
            step += 1
        made = [_stacked(line, 0, site, carried + i) for i, line in enumerate(lines)]
        return tuple([*state, *made][:count])

    return run


def _scan(site: Site) -> Kernel:
    op = site.operation
    body, captures = site.regions["body"], op.captures
    scanned = op.int_attribute("num_scan_inputs")
    states = len(op.inputs) - captures - scanned
    made = len(op.outputs) - states
    in_axes = op.ints_attribute("scan_input_axes") or (0,) * scanned
    in_directions = op.ints_attribute("scan_input_directions") or (0,) * scanned
    out_axes = op.ints_attribute("scan_output_axes") or (0,) * made
    out_directions = op.ints_attribute("scan_output_directions") or (0,) * made

    def run(*given: Tensor) -> tuple[Tensor, ...]:
        state, captured = list(given[:states]), given[states + scanned :]
        rows = [
            list(x.flip(axis).unbind(axis)) if backward else list(x.unbind(axis))
            for x, axis, backward in zip(
                given[states : states + scanned], in_axes, in_directions, strict=True
            )
        ]
        lines: list[list[Tensor]] = [[] for _ in range(made)]
        for items in zip(*rows, strict=True):
            results = body(*state, *items, *captured)
            state = list(results[:states])
            for line, part in zip(lines, results[states:], strict=False):
                line.append(part)
        stacked = [
            _stacked(line[::-1] if backward else line, axis, site, states + i)
            for i, (line, axis, backward) in enumerate(
                zip(lines, out_axes, out_directions, strict=True)
            )
        ]
        return (*state, *stacked)

    return run


TABLE: dict[str, Builder] = {"If": _if, "Loop": _loop, "Scan": _scan}
