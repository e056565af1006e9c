"""Passes that fit blocks: gains, refusals, resuming, the same bytes whatever runs them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch

from quantable.ir import DataError, OptionError, UnknownNameError, graph_digest
from quantable.ir.numerics import quantize
from quantable.passes.laboratory import held_out_samples
from quantable.passes.rewrite_limit import Rewrites
from quantable.passes.tune.block_walk import BlockWalk
from quantable.passes.tune.blocks import blocks

QUICK = "steps=20 batch=8"
PASSES = [
    f"reconstruct-blocks{{{QUICK}}}",
    f"learn-step-size{{{QUICK}}}",
    f"train-thresholds{{{QUICK}}}",
    f"tune-rounding{{{QUICK} rate=0.05}}",
]
OTHERS = [
    pytest.param(text, marks=pytest.mark.slow)
    for text in (
        'reconstruct-blocks{steps=60 batch=16 start="original" drop=0.5}',
        f"learn-step-size{{{QUICK} weights=false}}",
        'learn-step-size{steps=60 batch=16 scope="network"}',
    )
]

SHORT = [
    "reconstruct-blocks{steps=10 batch=8 drop=0.5}",
    'learn-step-size{steps=10 batch=8 scope="network" weight-rate=0.005}',
    "learn-step-size{steps=10 batch=8 block-size=2}",
]


class Memory(dict[str, Mapping[str, npt.NDArray[np.generic]]]):
    """A checkpoint that may break down, as a process does that is killed."""

    left = 1 << 30

    def load(self, key):
        return self.get(key)

    def store(self, key, arrays):
        self[key] = {name: np.array(array) for name, array in arrays.items()}
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("text", PASSES + OTHERS)
def test_a_real_network_comes_closer(real_case, text):
    case = real_case()
    done = case.after(text)
    decisions = done.history[-1].decisions
    assert any(d.is_accepted for d in decisions)
    assert all(d.after < d.before for d in decisions if d.is_accepted)
    laboratory = case.context.laboratory
    judging = held_out_samples(laboratory.count)
    targets = laboratory.values(case.plain, case.plain.outputs, judging)
    before, after = (
        sum(laboratory.noise(graph, targets, judging).values()) for graph in (case.graph, done)
    )
    assert after < before


@pytest.mark.parametrize("text", SHORT)
def test_the_bytes_do_not_depend_on_threads_and_are_the_same_again(real_case, text):
    case, found = real_case(), set()
    before = torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        done = case.after(text)
        found.add((graph_digest(done), done.history[-1].decisions))
    assert torch.get_num_threads() == threads
    torch.set_num_threads(before)
    assert len(found) == 1


@pytest.mark.parametrize("text", PASSES[:2])
def test_a_pass_that_was_stopped_goes_on_to_the_same_bytes(real_case, text):
    case = real_case()
    whole = case.after(text)
    for stop in (1, 2):
        memory = Memory()
        memory.left = stop
        case.context.checkpoint = memory
        with pytest.raises(KeyboardInterrupt):
            case.after(text)
        assert len(memory) == stop
        resumed = case.after(text)
        assert graph_digest(resumed) == graph_digest(whole)
        assert resumed.history[-1].decisions == whole.history[-1].decisions
    count = len(memory)
    again = case.after(text)
    assert graph_digest(again) == graph_digest(whole)
    assert len(memory) == count
    other = case.after(text.replace("steps=20", "steps=19"))
    assert len(memory) == 2 * count, "other options took what these options had found"
    assert graph_digest(other) != graph_digest(whole)


def test_what_does_not_help_on_held_out_samples_is_refused_and_changes_nothing(layer_case):
    case = layer_case(samples=_contrary_samples())
    for text in ("reconstruct-blocks{steps=20}", "learn-step-size{steps=40 scale-rate=0.5}"):
        done = case.after(text)
        (decision,) = done.history[-1].decisions
        assert not decision.is_accepted
        assert decision.reason == "the error does not fall on held-out samples"
        assert graph_digest(done) == graph_digest(case.graph)


def _contrary_samples():
    rng = np.random.Generator(np.random.Philox(2))
    samples = []
    for index in range(16):
        x = np.zeros((1, 4, 6, 6), np.float32)
        channels = slice(1, 4) if index % 4 == 3 else slice(0, 1)
        x[:, channels] = rng.uniform(0, 1, x[:, channels].shape)
        samples.append({"x": x})
    return samples


@pytest.mark.parametrize("text", PASSES)
def test_samples_that_are_not_finite_are_refused_by_name(layer_case, text):
    case = layer_case()
    inputs = case.context.laboratory._inputs["x"].copy()
    inputs[0, 0, 0, 0, 0] = np.inf
    broken = type(case.context.laboratory)([{"x": sample} for sample in inputs])
    case.context.laboratory = broken
    done = case.after(text)
    (decision,) = done.history[-1].decisions
    assert not decision.is_accepted
    assert "not finite" in decision.reason
    assert "float value 'y' is not finite: operation 'y' (Conv" in decision.reason
    assert graph_digest(done) == graph_digest(case.graph)


def test_rounding_that_is_tuned_moves_no_weight_further_than_a_step(real_case):
    case = real_case()
    done = case.after("tune-rounding{steps=60 batch=16 rate=0.05}")
    moves = set()
    for op in done.quantable_operations:
        if op.kind in ("Conv", "quantable.Linear"):
            config, name = op.config.inputs[1], op.inputs[1]
            integers = [quantize(g.array(name), config, g.rows[config.row])
                        for g in (case.graph, done)]  # fmt: skip
            moves |= set(np.unique(integers[1] - integers[0]).tolist())
    assert moves == {-1, 0, 1}
    assert done.rows == case.graph.rows


def test_thresholds_of_powers_of_two_stay_such(layer_case):
    case = layer_case()
    op = case.graph.operation_by_name["y"]
    held = op.config.inputs[1]
    policy = replace(held.policy, power_of_two=True)
    row = case.graph.rows[held.row]
    coarse = row.filled(2.0 ** np.ceil(np.log2(row.scale_array)) * 4, row.zero_point_array, "")
    op = op.with_slot("in", 1, replace(held, policy=policy))
    case.graph = case.graph.with_operation(op).with_rows([coarse])
    done = case.after("train-thresholds{steps=60 batch=8 rate=0.05}")
    (decision,) = done.history[-1].decisions
    assert decision.is_accepted
    found = np.log2(done.rows[held.row].scale_array)
    assert np.array_equal(found, np.round(found))
    assert (found < np.log2(coarse.scale_array)).any()
    assert done.parameters == case.graph.parameters


def test_the_limit_of_rewrites_stops_between_blocks(real_case):
    case = real_case()
    case.context.rewrites = Rewrites(1)
    done = case.after(PASSES[1])
    assert sum(d.is_accepted for d in done.history[-1].decisions) == 1


def test_scales_that_other_blocks_quantize_with_stay(real_case):
    case = real_case("resnet8")
    done = case.after("learn-step-size{block-size=2 steps=10 batch=8 scale-rate=0.02}")
    parts = [set(block) for block in blocks(case.graph, 2)]
    readers: dict[str, set[int]] = {}
    for op in case.graph.quantable_operations:
        place = next(i for i, part in enumerate(parts) if op.name in part)
        for _, _, config in op.config.slots():
            if config.state.is_in_force:
                readers.setdefault(config.row, set()).add(place)
    shared = [row for row, places in readers.items() if len(places) > 1]
    assert all(done.rows[row] == case.graph.rows[row] for row in shared)
    assert any(done.rows[row] != case.graph.rows[row] for row in readers)


def test_a_walk_gives_the_same_values_whether_blocks_before_were_asked_for(real_case):
    case = real_case("resnet8")
    found = blocks(case.graph, 2)
    laboratory = case.context.laboratory
    steady, sudden = (BlockWalk(case.graph, laboratory, found) for _ in range(2))
    for index in range(len(found)):
        last = steady.values(index)
    other = sudden.values(len(found) - 1)
    for name in ("feeds", "originals", "targets"):
        mine, its = getattr(last, name), getattr(other, name)
        assert mine.keys() == its.keys()
        assert all(np.array_equal(mine[key], its[key]) for key in mine)


@pytest.mark.parametrize("name", [text.split("{")[0] for text in PASSES])
def test_wrong_options_and_missing_samples_are_refused(layer_case, name):
    case = layer_case()
    wrong = ["steps=0", "batch=0", "block-size=0", "seed=-1"]
    if name in ("reconstruct-blocks", "learn-step-size"):
        wrong += ["drop=1.0", "drop=-0.1"]
        with pytest.raises(UnknownNameError):
            case.after(f'{name}{{start="there"}}')
    for options in wrong:
        with pytest.raises(OptionError, match=options.split("=")[0]):
            case.after(f"{name}{{{options}}}")
    case.context = replace(case.context, laboratory=None)
    with pytest.raises(DataError, match="needs calibration samples"):
        case.after(name)
