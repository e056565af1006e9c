"""The table of costs has a row for every kernel that multiplies, at both widths."""

from __future__ import annotations

from quantable.backends.c.costs import DEPTHWISE, PRODUCT_COSTS, product_cost
from quantable.bench import kernel_costs
from quantable.targets.description import load_target


def test_every_compute_kind_of_the_targets_has_costs() -> None:
    rules = load_target("c-portable").rules.values()
    kinds = {rule.kind for rule in rules if rule.role == "compute"} | {DEPTHWISE}
    assert set(PRODUCT_COSTS) == {(kind, bits) for kind in kinds for bits in (8, 16)}
    assert {kind for kind, _ in PRODUCT_COSTS} == set(kernel_costs._SHAPES)


def test_four_bits_cost_what_eight_do() -> None:
    assert product_cost("Conv", 4) == product_cost("Conv", 8)


def test_the_measurement_gives_a_time() -> None:
    assert 0 < kernel_costs.seconds_a_product("Conv", 8, runs=1) < 1e-6
