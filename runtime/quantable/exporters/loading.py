"""PyTorch modules by reference: ``net.py:net`` or ``package.module:net``."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from quantable.ir import ModelError, QuantableError, UserError

_HELP = "expected FILE.py:NAME or PACKAGE.MODULE:NAME, where NAME is an nn.Module, or a function "
_HELP += "that returns one, alone or with its example inputs"
_SEED = 0


def load_attribute(reference: str) -> Any:
    """Return what a reference names.

    A file may import what lies beside it, as a script does.

    Raises:
        UserError: There is no such file, module or attribute, or importing it fails.
    """
    place, _, name = reference.rpartition(":")
    if not place or not name:
        raise UserError("no reference to Python code", where=reference, help=_HELP)
    module = _file(Path(place), reference) if place.endswith(".py") else _import(place, reference)
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            known = ", ".join(sorted(n for n in vars(module) if not n.startswith("_")))
            raise UserError(
                f"expected an attribute '{name}', found {known or 'none'}", where=place, help=_HELP
            )
        found = getattr(found, part)
    return found


def load_module(reference: str) -> tuple[nn.Module, Any]:
    """Return a module, and its example inputs where what the reference names returns some.

    Functions are called with torch's random numbers seeded, so that weights which nobody loads are
    the same in every process.

    Raises:
        UserError: The reference names no module and no function that returns one.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        found = load_attribute(reference)
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
    found = load_attribute(reference)
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
    with _explained(reference):
        return function()


def _import(name: str, reference: str) -> ModuleType:
    with _explained(reference), _path(Path.cwd()):
        return importlib.import_module(name)


def _file(path: Path, reference: str) -> ModuleType:
    if not path.is_file():
        raise UserError("no such file", where=str(path), help=_HELP)
    name = f"_quantable_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UserError("no Python file", where=str(path), help=_HELP)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where classes of the file look for their module
    with _explained(reference), _path(path.resolve().parent):
        spec.loader.exec_module(module)
    return module


@contextmanager
def _path(folder: Path) -> Iterator[None]:
    """Let modules of a folder be imported, as for a script that lies there."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


@contextmanager
def _explained(reference: str) -> Iterator[None]:
    """Turn what a user's code raises into an error that names its line."""
    try:
        yield
    except QuantableError:
        raise
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if frame.filename != __file__]
        last = own[-1] if own else frames[-1]
        text = (str(error) or type(error).__name__).splitlines()[0]
        raise ModelError(
            f"running it raises {type(error).__name__}: {text}", where=reference,
            help=f"see line {last.lineno} of {last.filename}",
        ) from error  # fmt: skip
