"""Regenerate ``generated/`` from the .fbs files: ``python -m quantable.schema.generate``.

flatc writes empty ``__init__.py`` files into every parent package, so it writes into a temporary
folder and only the leaf package is copied. flatc 2.0.8 and later work.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from quantable.schema.fbs import layout_source, parse_layout

SCHEMA_FOLDER = Path(__file__).parent
SCHEMA_FILES = ("common.fbs", "graph.fbs", "profile.fbs")
GENERATED_FOLDER = SCHEMA_FOLDER / "generated"


def generate(folder: Path) -> None:
    """Write the generated package into `folder`, which is replaced.

    Raises:
        subprocess.CalledProcessError: flatc refuses a schema.
    """
    with tempfile.TemporaryDirectory() as scratch:
        command = ["flatc", "--python", "--gen-object-api", "--require-explicit-ids", "-o", scratch]
        subprocess.run([*command, *SCHEMA_FILES], cwd=SCHEMA_FOLDER, check=True)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(Path(scratch) / "quantable" / "schema" / "generated", folder)
    texts = [(SCHEMA_FOLDER / name).read_text("utf-8") for name in SCHEMA_FILES]
    (folder / "layout.py").write_text(layout_source(parse_layout(texts)), "utf-8")


if __name__ == "__main__":
    generate(GENERATED_FOLDER)
