"""What benchmarks have in common: where networks come from, and where results go."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from quantable.bench.datasets import DEFAULT_SHARED

ROOT = Path(__file__).resolve().parents[3]


def add_zoo(parser: argparse.ArgumentParser) -> None:
    """Add ``--zoo``, for `quantable.bench.zoo.zoo_models`."""
    parser.add_argument(
        "--zoo", type=Path, default=DEFAULT_SHARED / "bench" / "zoo.py",
        help="the script that builds the networks, or a folder with them",
    )  # fmt: skip


def add_page(parser: argparse.ArgumentParser, name: str) -> None:
    """Add ``--output``: a page of ``docs/``, or None for none."""
    parser.add_argument(
        "--output",
        type=lambda text: Path(text) if text else None,
        default=ROOT / "docs" / name,
        help="the page to write; '' for none",
    )


def end(facts: Mapping[str, Any], page: Callable[[Any], str], output: Path | None) -> None:
    """Print facts as JSON, and write the page about them where one is asked for."""
    sys.stdout.write(json.dumps(facts, indent=2) + "\n")
    if output:
        output.write_text(page(facts), encoding="utf-8")
