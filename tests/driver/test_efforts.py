"""Efforts: the table, what each does on the embedded network, and samples for passes that fit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from quantable.driver import api
from quantable.driver.checkpoints import FolderCheckpoint
from quantable.driver.compile import Calibration, compile_model
from quantable.driver.efforts import EFFORTS, pipelines_of
from quantable.driver.pipelines import resolve
from quantable.driver.replay import replay_history
from quantable.driver.stages import STAGE
from quantable.driver.tuning_data import open_tuning_data
from quantable.ir import DataError, Graph, OptionError, Profile, UnknownNameError
from quantable.targets.description import TARGETS, load_target
from tests.driver.conftest import Digits
from tests.driver.test_stages import contents

TARGET = "c-w4a8"


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("target", TARGETS)
def test_every_effort_has_pipelines_for_every_target(effort: str, target: str) -> None:
    found = pipelines_of(effort, load_target(target))
    assert set(found) <= {"canonicalize", "calibrate"}
    for stage, text in found.items():
        for item in resolve(text):
            item.check()
        assert text.startswith(STAGE[stage].pipeline)
    assert bool(found) == EFFORTS[effort].needs_samples or effort == "fast"


def test_an_unknown_effort_is_named() -> None:
    with pytest.raises(UnknownNameError, match="unknown effort 'bets'"):
        pipelines_of("bets", load_target(TARGET))


def _noise(graph: Graph, reference: Graph, digits: Digits) -> float:
    found, right = (
        next(iter(api.run(item, digits.test, digits.how, samples=200).values()))
        for item in (graph, reference)
    )
    wanted = right.astype(np.float64)
    return float(np.square(found - wanted).sum() / np.square(wanted).sum())


def test_more_effort_leaves_less_noise(digits: Digits, canonical_graph: Graph) -> None:
    noise = {
        effort: _noise(
            api.quantize_network(
                digits.model, digits.calibration, TARGET, effort=effort, preprocessing=digits.how,
                samples=120,
            ), canonical_graph, digits,
        )
        for effort in ("fast", "balanced")
    }  # fmt: skip
    assert noise["balanced"] < 0.7 * noise["fast"]


def test_stages_equal_one_shot_at_every_effort_that_fits(
    digits: Digits, tmp_path: Path, canonical_graph: Graph, profile: Profile
) -> None:
    pipelines = pipelines_of("balanced", load_target(TARGET))
    calibration = Calibration(digits.calibration, preprocessing=digits.how, samples=digits.samples)
    compile_model(
        digits.model, tmp_path / "a", target=TARGET, calibration=calibration, effort="balanced"
    )
    tuning = open_tuning_data(
        canonical_graph, digits.calibration, digits.how, samples=digits.samples
    )
    quantized = api.quantize(canonical_graph, TARGET)
    fitted = api.calibrate(quantized, profile, passes=pipelines["calibrate"], tuning=tuning)
    api.save(fitted, tmp_path / "03-calibrate.qir")
    assert (tmp_path / "03-calibrate.qir").read_bytes() == contents(tmp_path / "a")[
        "03-calibrate.qir"
    ]
    decisions = [d for record in fitted.history for d in record.decisions]
    assert any(d.is_accepted for d in decisions)
    done = replay_history(fitted, model=digits.model, profile=profile, tuning=tuning)
    assert all(one.is_equal for one in done), done


def test_data_that_can_be_read_once_serve_all_stages(digits: Digits, tmp_path: Path) -> None:
    graph = api.import_model(digits.model)

    def samples() -> Iterator[dict[str, np.ndarray]]:
        yield from api.open_samples(digits.calibration, graph, digits.how, samples=12)

    calibration = Calibration(samples())
    compile_model(
        digits.model, tmp_path / "a", target=TARGET, calibration=calibration, effort="balanced"
    )
    other = Calibration(digits.calibration, preprocessing=digits.how, samples=12)
    compile_model(digits.model, tmp_path / "b", target=TARGET, calibration=other, effort="balanced")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_a_profile_alone_is_not_enough(
    digits: Digits, canonical_graph: Graph, profile: Profile, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="needs calibration samples, found none") as caught:
        compile_model(
            digits.model, tmp_path / "a", target=TARGET, effort="balanced",
            calibration=Calibration(profile=profile),
        )  # fmt: skip
    assert "--calibration" in caught.value.help
    assert not (tmp_path / "a").exists()


def test_too_few_samples_are_refused(digits: Digits, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected at least 4 samples, found 2"):
        api.quantize_network(
            digits.model, digits.calibration, TARGET, effort="balanced",
            preprocessing=digits.how, samples=2,
        )  # fmt: skip


def test_samples_are_read_when_a_pass_asks_for_them(canonical_graph: Graph) -> None:
    tuning = open_tuning_data(canonical_graph, "no-such-file.npz")
    with pytest.raises(DataError, match="no such file"):
        _ = tuning.laboratory.count


def test_a_checkpoint_keeps_arrays_and_ignores_what_is_damaged(tmp_path: Path) -> None:
    kept = FolderCheckpoint(tmp_path / "deep" / "folder")
    assert kept.load("a") is None
    kept.store("a", {"x": np.arange(3), "y": np.ones((2, 2), np.float32)})
    found = kept.load("a")
    assert found is not None
    np.testing.assert_array_equal(found["x"], np.arange(3))
    assert kept.load("b") is None
    (file,) = kept.folder.iterdir()
    file.write_bytes(file.read_bytes()[:-40])
    assert kept.load("a") is None


def test_a_checkpoint_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OptionError, match="cannot be made"):
        FolderCheckpoint(tmp_path / "file" / "folder").store("a", {"x": np.ones(1)})
