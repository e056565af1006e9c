"""The networks of `networks.py` as a user's file."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def net_py(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The path of a file with networks, in the working directory."""
    shutil.copy(Path(__file__).with_name("networks.py"), tmp_path / "net.py")
    monkeypatch.chdir(tmp_path)
    return "net.py"
