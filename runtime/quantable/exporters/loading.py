"""PyTorch modules by reference: ``net.py:net`` or ``package.module:net``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from quantable.ir import UserError
from quantable.ir.python_references import explained, load_attribute

_HELP = "expected FILE.py:NAME or PACKAGE.MODULE:NAME, where NAME is an nn.Module, or a function "
_HELP += "that returns one, alone or with its example inputs"
_SEED = 0


def load_module(reference: str) -> tuple[nn.Module, Any]:
    """Return a module, and its example inputs where what the reference names returns some.

    Functions are called with torch's random numbers seeded, so that weights which nobody loads are
    the same in every process.

    Raises:
        UserError: The reference names no module and no function that returns one.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        found = load_attribute(reference, _HELP)
        if not isinstance(found, nn.Module) and callable(found):
            found = _called(found, reference)
    example = None
    if isinstance(found, (tuple, list)) and len(found) == 2:
        found, example = found
    if not isinstance(found, nn.Module):
        raise UserError(
            f"expected an nn.Module, found {type(found).__name__}", where=reference, help=_HELP
        )
    return found, example


def load_example(reference: str) -> tuple[Any, ...] | Mapping[str, Any]:
    """Return example inputs: a tensor, a sequence, or a mapping by name; or what a function makes.

    Raises:
        UserError: The reference names something else.
    """
    found = load_attribute(reference, _HELP)
    if callable(found) and not isinstance(found, torch.Tensor):
        found = _called(found, reference)
    return as_example(found, reference)


def as_example(found: Any, where: str) -> tuple[Any, ...] | Mapping[str, Any]:
    """Return example inputs in the form that a call takes.

    Raises:
        UserError: They are none.
    """
    if isinstance(found, Mapping):
        return {str(name): _tensor(item, where) for name, item in found.items()}
    items = found if isinstance(found, Sequence) else (found,)
    return tuple(_tensor(item, where) for item in items)


def _tensor(item: Any, where: str) -> torch.Tensor:
    if not isinstance(item, torch.Tensor):
        try:
            return torch.as_tensor(item)
        except (TypeError, ValueError, RuntimeError):
            raise UserError(
                f"example inputs: expected tensors or arrays, found {type(item).__name__}",
                where=where,
            ) from None
    return item


def _called(function: Callable[[], Any], reference: str) -> Any:
    with explained(reference):
        return function()
