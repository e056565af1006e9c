"""The history of every file of every shared network can be redone, digest by digest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from quantable.driver import api
from quantable.driver.replay import replay_history
from tests.networks.conftest import TARGETS, Case

pytestmark = pytest.mark.slow
Compiled = Callable[[Case, str], Path]


@pytest.mark.parametrize("target", TARGETS)
def test_every_file_is_made_again(case: Case, target: str, compiled: Compiled) -> None:
    folder = compiled(case, target)
    profile = api.load_profile(folder / "calibration.qprof")
    files = sorted(folder.glob("*.qir"))
    assert len(files) >= 5
    # The last one's history holds that of all others; each other one only has to lie on the way.
    last = api.load(files[-1])
    done = replay_history(last, model=case.model, profile=profile)
    assert [one.stage for one in done if not one.is_equal] == []
    for path in files[:-1]:
        held = api.load(path)
        assert held.history == last.history[: len(held.history)]
        (end,) = replay_history(held, start=held)
        assert end.is_equal, path.name
