"""The state table is complete: every pair of states is legal, or raises and says where."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from quantable.ir import (
    TRANSITIONS,
    QuantizationParameters,
    Relation,
    State,
    StateError,
    TensorQuantizationConfig,
)

PAIRS = list(itertools.permutations(State, 2))
LEGAL = {
    State.FP32: {State.INITIAL, State.PASSIVE_INIT},
    State.INITIAL: {
        State.ACTIVATED, State.OVERLAPPED, State.PASSIVE_INIT, State.PASSIVE, State.FP32,
    },
    State.ACTIVATED: {
        State.INITIAL, State.OVERLAPPED, State.PASSIVE, State.BAKED, State.FP32,
    },
    State.OVERLAPPED: {State.INITIAL, State.PASSIVE, State.PASSIVE_INIT, State.FP32},
    State.PASSIVE_INIT: {State.PASSIVE, State.INITIAL, State.OVERLAPPED, State.FP32},
    State.PASSIVE: {
        State.PASSIVE_INIT, State.OVERLAPPED, State.INITIAL, State.PASSIVE_BAKED, State.FP32,
    },
    State.BAKED: {State.ACTIVATED},
    State.PASSIVE_BAKED: {State.PASSIVE},
}  # fmt: skip


@pytest.mark.parametrize(("origin", "to"), PAIRS, ids=lambda s: s.value)
def test_every_pair_is_legal_or_raises_with_place_from_and_to(origin: State, to: State) -> None:
    config = TensorQuantizationConfig(state=origin)
    if to in LEGAL[origin]:
        assert config.moved(to, "operation 'c' in0").state is to
        assert TRANSITIONS[origin, to]
        return
    with pytest.raises(StateError) as caught:
        config.moved(to, "operation 'c' (Conv) in0")
    text = str(caught.value)
    assert "operation 'c' (Conv) in0" in text
    assert f"from {origin.value} to {to.value}" in text
    assert all(state.value in text for state in LEGAL[origin])


def test_the_table_holds_nothing_else() -> None:
    assert set(TRANSITIONS) == {(a, b) for a, targets in LEGAL.items() for b in targets}


@pytest.mark.parametrize("state", State)
def test_staying_is_no_transition(state: State) -> None:
    config = TensorQuantizationConfig(state=state)
    assert config.moved(state) is config


def test_baked_is_left_only_by_giving_up_the_integers() -> None:
    leaving = {b for a, b in TRANSITIONS if a.is_baked}
    assert leaving == {State.ACTIVATED, State.PASSIVE}


def test_in_force_and_baked() -> None:
    assert {s for s in State if s.is_in_force} == {State.ACTIVATED, State.PASSIVE}
    assert {s for s in State if s.is_baked} == {State.BAKED, State.PASSIVE_BAKED}


@pytest.mark.parametrize("state", State)
def test_suspend_and_restore_bring_back_every_state(state: State) -> None:
    config = TensorQuantizationConfig(state=state, relation=Relation.OWN, row="r")
    suspended = config.suspend()
    assert suspended.state is State.FP32
    assert suspended.suspended is state
    assert suspended.suspend() is suspended
    assert suspended.restore() == config
    assert config.restore() is config


@pytest.mark.parametrize("to", State)
def test_a_suspended_slot_does_not_move(to: State) -> None:
    with pytest.raises(StateError, match="restore_quantize_state"):
        TensorQuantizationConfig(state=State.ACTIVATED).suspend().moved(to)


def test_unquantized_drops_the_row() -> None:
    config = TensorQuantizationConfig(state=State.ACTIVATED, relation=Relation.OWN, row="r")
    gone = config.unquantized()
    assert (gone.state, gone.relation, gone.row) == (State.FP32, Relation.NONE, "")


def test_overlapped_by_names_the_row_that_quantizes() -> None:
    config = TensorQuantizationConfig(state=State.INITIAL, relation=Relation.OWN, row="mine")
    over = config.overlapped_by("theirs")
    assert (over.state, over.relation, over.row) == (
        State.OVERLAPPED, Relation.OVERLAPPED, "theirs",
    )  # fmt: skip


@pytest.mark.parametrize(("scale", "state"), [((), State.PASSIVE_INIT), ((0.5,), State.PASSIVE)])
def test_sharing_waits_until_the_row_has_a_scale(scale: tuple[float, ...], state: State) -> None:
    row = QuantizationParameters("r", scale, (0,) * len(scale))
    shared = TensorQuantizationConfig(state=State.INITIAL, relation=Relation.OWN).sharing(row)
    assert (shared.state, shared.relation, shared.row) == (state, Relation.SHARED, "r")


def test_same_scheme_ignores_state_row_and_observer() -> None:
    config = TensorQuantizationConfig()
    other = replace(config, state=State.ACTIVATED, relation=Relation.OWN, row="r", observer="kl")
    assert config.same_scheme(other)
    assert not config.same_scheme(replace(config, quant_min=-127))
