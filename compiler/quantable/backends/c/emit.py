"""Write the C sources of a planned graph."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from quantable.backends.c.build_files import cmake_text, makefile_text, readme_text
from quantable.backends.c.header import header_text
from quantable.backends.c.kinds import plan_unit
from quantable.backends.c.manifest import manifest
from quantable.backends.c.selftest import Golden, selftest_text
from quantable.backends.c.source import source_text, weights_header_text, weights_text
from quantable.backends.c.text import prefix
from quantable.backends.c.unit import Unit
from quantable.backends.c.zephyr import zephyr_texts
from quantable.ir import Graph
from quantable.kernels import header
from quantable.targets.kernel_sets import PORTABLE, KernelSet

MANIFEST = "manifest.json"
_INCLUDE = re.compile(r'^#include "(q_\w+\.h)"$', re.MULTILINE)


def emit(
    graph: Graph,
    directory: str | os.PathLike[str],
    *,
    golden: Golden | None = None,
    kernels: KernelSet = PORTABLE,
) -> dict[str, object]:
    """Write the C sources of a planned graph into a directory.

    Every file is written before the first one is put in place; ``manifest.json`` goes away first
    and comes back last, so that a directory with a manifest is always complete.

    Args:
        graph: At the planned level.
        directory: Made if it does not exist; files of the same names are replaced.
        golden: Integers by border value name with a leading axis of vectors, for the self test;
            without them no ``model_test.c`` is written.
        kernels: The set of kernels.

    Returns:
        The manifest.

    Raises:
        OptionError: The graph is not planned.
        UnsupportedError: Operations that the backend cannot emit, all of them.
        DataError: Golden vectors that do not fit.
    """
    unit, steps = plan_unit(graph, prefix(graph.name), kernels)
    sources = {"model.c": source_text(unit, steps)}
    sources["model.h"] = header_text(unit, steps, has_test=golden is not None)
    headers = _kernel_headers("".join([*sources.values(), *unit.user_headers.values()]))
    headers |= unit.user_headers
    texts = {
        **sources,
        "model_weights.c": weights_text(unit),
        "model_weights.h": weights_header_text(unit),
        **headers,
    }
    if golden is not None:
        texts["model_test.c"] = selftest_text(unit, golden)
    texts |= _project_files(unit, sorted(headers), has_test=golden is not None)
    described = manifest(unit, steps, sorted([*texts, MANIFEST]))
    texts[MANIFEST] = json.dumps(described, indent=1, sort_keys=True) + "\n"
    _write(Path(directory), texts)
    return described


def _project_files(unit: Unit, headers: list[str], *, has_test: bool) -> dict[str, str]:
    return {
        "Makefile": makefile_text(unit, headers, has_test=has_test),
        "CMakeLists.txt": cmake_text(unit, has_test=has_test),
        "README.md": readme_text(unit, has_test=has_test),
        **zephyr_texts(unit),
    }


def _kernel_headers(source: str) -> dict[str, str]:
    """Return every kernel header that a source needs, directly or not."""
    found: dict[str, str] = {}
    wanted = _INCLUDE.findall(source)
    while wanted:
        name = wanted.pop()
        if name not in found:
            found[name] = header(name)
            wanted += _INCLUDE.findall(found[name])
    return found


def _write(directory: Path, texts: Mapping[str, str]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".emit-", dir=directory))
    try:
        for name, text in texts.items():
            for folder in (staging, directory):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (staging / name).write_text(text, encoding="utf-8", newline="\n")
        for stale in (MANIFEST, "model_test.c"):
            (directory / stale).unlink(missing_ok=True)
        for name in [*(name for name in texts if name != MANIFEST), MANIFEST]:
            (staging / name).replace(directory / name)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
