"""Python objects as a user names them: ``file.py:name`` or ``package.module:name``."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from quantable.ir.errors import ModelError, QuantableError, UserError


def load_module(place: str, reference: str, help_text: str) -> ModuleType:
    """Return a module by its file or its name. A file may import what lies beside it.

    Raises:
        UserError: There is no such file, or importing it fails: then it names the line.
    """
    if place.endswith(".py"):
        return _file(Path(place), reference, help_text)
    return _import(place, reference)


def load_attribute(reference: str, help_text: str) -> Any:
    """Return what a reference names.

    Args:
        reference: The file or module, a colon, and the name in it.
        help_text: What messages say that is expected.

    Raises:
        UserError: There is no such file, module or attribute, or importing it fails.
    """
    place, _, name = reference.rpartition(":")
    if not place or not name:
        raise UserError("no reference to Python code", where=reference, help=help_text)
    module = load_module(place, reference, help_text)
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            known = ", ".join(sorted(n for n in vars(module) if not n.startswith("_")))
            raise UserError(
                f"expected an attribute '{name}', found {known or 'none'}",
                where=place,
                help=help_text,
            )
        found = getattr(found, part)
    return found


def _import(name: str, reference: str) -> ModuleType:
    with explained(reference), _path(Path.cwd()):
        return importlib.import_module(name)


def _file(path: Path, reference: str, help_text: str) -> ModuleType:
    if not path.is_file():
        raise UserError("no such file", where=str(path), help=help_text)
    name = f"_quantable_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UserError("no Python file", where=str(path), help=help_text)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where classes of the file look for their module
    with explained(reference), _path(path.resolve().parent):
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
def explained(reference: str) -> Iterator[None]:
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
