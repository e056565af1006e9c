"""Ranges by the error at the readers: what they gain, what they leave, what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from quantable.ir import DataError, OptionError, graph_digest
from quantable.passes.base import run_pass
from quantable.passes.calibrate.blocks import QuantizedWalk, consumer_blocks
from quantable.passes.calibrate.calibrate_sensitive import LOCAL, WHOLE, CalibrateSensitive
from quantable.passes.calibrate.candidates import candidate_ranges
from quantable.passes.slot_editor import Slot
from quantable.training import ReferenceLaboratory

TEXT = """
    a = Conv(x, w, b)
    r = Relu(a)
    p = MaxPool(r)
    c = Conv(p, w2, b2)
    y = Add(c, r)
"""


def blocks(examples, text, target="c-portable"):
    graph = examples.network(text)
    steps = (*examples.QUANTIZE, "calibrate")
    ready = examples.after(graph, steps, examples.context_of(graph, target))
    return ready, {block.owner: block for block in consumer_blocks(ready)}


def test_the_block_of_a_row_is_what_makes_the_tensor_and_what_reads_it(examples):
    _, found = blocks(examples, TEXT)
    made = found[Slot("r", "out", 0)]
    assert made.operations == ("r", "p", "y", "c"), "through the pool, which quantizes nothing"
    assert made.outputs == ("y", "c")
    given = found[Slot("a", "in", 0)]
    assert (given.operations, given.outputs) == (("a", "r"), ("r",)), "through the fused Relu"
    last = found[Slot("y", "out", 0)]
    assert (last.operations, last.outputs) == (("y",), ("y",))
    assert set(found) == {
        Slot("a", "in", 0), Slot("r", "out", 0), Slot("c", "out", 0), Slot("y", "out", 0)
    }  # fmt: skip


def test_a_block_shows_its_row_alone(examples):
    ready, found = blocks(examples, TEXT)
    part = found[Slot("r", "out", 0)].part(ready)
    held = {op.name: op.config for op in part.quantable_operations}
    assert held["r"].outputs[0].state.is_in_force
    assert not any(held[n].outputs[0].state.is_in_force for n in ("c", "y"))
    assert not held["c"].inputs[1].state.is_in_force


def test_a_slot_that_quantizes_again_has_a_block_of_its_own(examples):
    text = "a = Conv(x, w, b)\nc = Conv(a, w2, b2)\ns = Add(c, a)\ny = Conv(s, w3, b3)"
    _, found = blocks(examples, text, "c-w4a4")
    again = found[Slot("c", "in", 0)]
    assert (again.operations, again.outputs) == (("c",), ("c",))


def test_the_walk_gives_the_values_of_the_network(real):
    case = real("resnet8")
    context = case.context("c-w4a4")
    ready = case.calibrated(context)
    laboratory = ReferenceLaboratory(case.samples[:3])
    walk = QuantizedWalk(ready, laboratory, range(3))
    for op in ready.operations:
        held = walk.before(op.name)
        for name in op.inputs[:1]:
            expected = laboratory.values(ready, [name], range(3))[name]
            assert np.array_equal(held[name], expected), op.name


def test_candidates_are_few_and_different(real):
    case = real("resnet8")
    ready = case.calibrated(case.context("c-portable"))
    for block in consumer_blocks(ready):
        op = ready.operation_by_name[block.owner.operation]
        side = op.config.inputs if block.owner.side == "in" else op.config.outputs
        names = op.inputs if block.owner.side == "in" else op.outputs
        held = case.profile.statistics[names[block.owner.index]]
        found = list(candidate_ranges(held, side[block.owner.index]))
        assert 2 <= len(found) <= 9
        assert len({(low, high) for _, low, high in found}) == len(found)
        assert all(held.minimum <= low <= high <= held.maximum or low <= 0.0 <= high
                   for _, low, high in found)  # fmt: skip


def test_the_readers_of_a_real_network_come_closer(real):
    case = real("dscnn_kws")
    context = case.context("c-w4a4")
    ready = case.calibrated(context)
    done = run_pass(ready, CalibrateSensitive(), context)
    *local, whole = done.history[-1].decisions
    accepted = [d for d in local if d.is_accepted]
    assert len(accepted) >= 3
    assert all(d.measure == LOCAL and d.after < d.before for d in accepted)
    assert whole.measure == WHOLE
    assert whole.is_accepted
    assert whole.after < 0.95 * whole.before
    changed = [name for name in done.rows if done.rows[name] != ready.rows[name]]
    assert len(changed) == len(accepted)
    assert all(done.rows[n].provenance.startswith("calibrate-sensitive: ") for n in changed)
    value = done.producers[done.outputs[0]].inputs[0]
    errors = [
        np.square(case.logits(g, value) - case.logits(case.plain, value)).sum()
        for g in (done, ready)
    ]
    assert errors[0] < errors[1], "on samples that nothing was chosen on"
    assert graph_digest(run_pass(ready, CalibrateSensitive(), context)) == graph_digest(done)


def test_what_does_not_help_the_network_is_taken_back(real):
    """The held-out samples are other data than the fitting ones: large noise."""
    case = real("resnet8")
    context = case.context("c-portable")
    random = np.random.Generator(np.random.Philox(3))
    name, first = next(iter(case.samples[0].items()))
    samples = [
        {name: (s[name] if i % 4 != 3 else random.normal(0, 40, first.shape).astype(np.float32))}
        for i, s in enumerate(case.samples)
    ]
    context.laboratory = ReferenceLaboratory(samples)
    ready = case.calibrated(context)
    done = run_pass(ready, CalibrateSensitive(), context)
    decisions = done.history[-1].decisions
    refused = [d for d in decisions if not d.is_accepted]
    assert refused
    assert all(d.reason for d in refused)
    assert all(not d.after < d.before for d in refused if d.measure == LOCAL)
    whole = [d for d in decisions if d.measure == WHOLE]
    if not whole or not whole[0].is_accepted:
        assert done.rows == ready.rows


def test_it_asks_for_samples_a_profile_and_sound_options(examples):
    graph = examples.network(TEXT)
    context = examples.context_of(graph)
    ready = examples.after(graph, (*examples.QUANTIZE, "calibrate"), context)
    with pytest.raises(DataError, match="needs calibration samples, found none"):
        run_pass(ready, CalibrateSensitive(), context)
    context.laboratory = ReferenceLaboratory([{"x": np.ones((1, 2, 4, 4), np.float32)}] * 8)
    with pytest.raises(DataError, match="takes candidates from a profile, found none"):
        run_pass(ready, CalibrateSensitive(), replace(context, profile=None))
    with pytest.raises(OptionError, match="samples: expected at least 1, found 0"):
        run_pass(ready, CalibrateSensitive(samples=0), context)


def test_baked_and_fixed_rows_stay(examples):
    text = "c = Conv(x, w, b)\ns = Softmax(c)\ny = MatMul(s, c)"
    ready, found = blocks(examples, text)
    assert Slot("s", "out", 0) not in found
    assert all(ready.rows[block.row].is_filled for block in found.values())
