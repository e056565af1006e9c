"""How emitted files take their places, and what happens where they cannot."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from quantable.driver import emission
from quantable.driver.compile import Compilation
from quantable.driver.emission import emit_files, require_folder, write_text
from quantable.driver.files import save_arrays
from quantable.ir import OptionError
from quantable.targets.description import load_target

Compiled = Callable[[str], tuple[Path, Compilation]]


def _full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_new_files_have_the_rights_of_new_files(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("x")
    write_text("x", tmp_path / "report.md")
    save_arrays({"x": np.zeros(1)}, tmp_path / "x.npz")
    rights = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert len(rights) == 1


def test_a_full_disk_is_not_our_fault(
    compiled: Compiled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, planned = compiled("x86-vnni")[1].graphs[-1]
    monkeypatch.setattr(emission, "_emit", _full)
    with pytest.raises(OptionError, match="No space left on device") as caught:
        emit_files(planned, tmp_path / "out", load_target("x86-vnni"))
    assert str(tmp_path / "out") in caught.value.where
    assert list((tmp_path / "out").iterdir()) == []


def test_a_full_disk_leaves_no_half_of_an_array(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(np, "savez", _full)
    with pytest.raises(OptionError, match="No space left on device"):
        save_arrays({"x": np.zeros(1)}, tmp_path / "x.npz")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_asked_for_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for place in (tmp_path / "file", tmp_path / "file/below/it"):
        with pytest.raises(OptionError, match="is not a folder"):
            require_folder(place)
    require_folder(tmp_path / "new/folders")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
