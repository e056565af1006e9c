"""The table of what is measured, and choosing from it."""

from __future__ import annotations

import pytest

from quantable.bench.accuracy.bars import BARS, PUBLISHED
from quantable.bench.accuracy.suites import SUITES, Case, cases
from quantable.bench.datasets import NETWORKS
from quantable.bench.peers import PEERS
from quantable.ir import UnknownNameError
from quantable.targets.description import TARGETS


def test_suites_name_networks_peers_and_targets_that_exist() -> None:
    for suite in SUITES.values():
        assert set(suite.networks) <= set(NETWORKS)
        assert set(suite.peers) <= set(PEERS)
        assert {target.partition("@")[0] for target in suite.targets} <= set(TARGETS)
    assert set(PEERS) == {peer for suite in SUITES.values() for peer in suite.peers}


def test_every_network_of_every_suite_has_a_bar_that_one_of_its_efforts_is_held_to() -> None:
    assert set(BARS) == set(SUITES)
    for name, suite in SUITES.items():
        assert set(BARS[name]) == set(suite.networks)
        for bars in BARS[name].values():
            efforts = {effort for found in suite.targets.values() for effort in found}
            assert all(set(bar.efforts) <= efforts for bar in bars)
            assert any("best" in bar.efforts for bar in bars)


def test_published_figures_belong_to_networks_that_are_measured() -> None:
    for name, found in PUBLISHED.items():
        assert set(found) <= set(SUITES[name].networks)


def test_cases_are_chosen_by_suite_network_and_pattern() -> None:
    found = list(cases(["w8a8"], ["resnet8"], ["nncf", "*/fast"]))
    tools = ["nncf", "onnxruntime/fast", "x86-vnni/fast"]
    assert found == [Case("w8a8", "resnet8", tool) for tool in tools]
    assert [case.is_own for case in found] == [False, True, True]


def test_all_cases_are_different_and_efforts_follow_their_target() -> None:
    found = list(cases())
    assert len(found) == len(set(found))
    own = [case.tool for case in found if case.network == "resnet20" and case.suite == "w4a8"]
    assert own == [
        "onnxruntime-w4a8/fast", "onnxruntime-w4a8/balanced", "onnxruntime-w4a8/best",
        "c-w4a8/fast",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("suites", "networks", "tools", "known"),
    [
        (["w8a9"], None, None, "w8a8"),
        (None, ["resnet9"], None, "resnet8"),
        (None, None, ["nnfc"], "nncf"),
    ],
)
def test_unknown_names_list_the_nearest(
    suites: list[str] | None, networks: list[str] | None, tools: list[str] | None, known: str
) -> None:
    with pytest.raises(UnknownNameError, match=known):
        list(cases(suites, networks, tools))
