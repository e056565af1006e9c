"""Closest points of a lattice: what each way promises."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st

from quantable.passes.tune.error import Metric
from quantable.passes.tune.rounding import (
    Lattice,
    NearestPlane,
    best_corner,
    closest,
    descended,
)

Reals = npt.NDArray[np.float64]
PROBLEMS = st.tuples(
    st.integers(0, 1 << 16), st.integers(1, 3), st.integers(1, 4), st.integers(1, 6)
)


def problem(seed: int, groups: int, outputs: int, k: int) -> tuple[Lattice, Metric]:
    rng = np.random.Generator(np.random.Philox(seed))
    rows = rng.standard_normal((groups, 2 * k, k)) @ rng.standard_normal((groups, k, k))
    hessian = rows.transpose(0, 2, 1) @ rows + 1e-3 * np.eye(k)
    target = rng.standard_normal((groups, outputs, k))
    scale = np.broadcast_to(rng.uniform(0.2, 0.5, (groups, outputs, 1)), target.shape)
    bounds = (np.full(target.shape, -7.0), np.full(target.shape, 7.0))
    return Lattice(scale, *bounds), Metric(hessian, target)


def is_on_grid(lattice: Lattice, steps: Reals) -> bool:
    inside = (steps >= lattice.low) & (steps <= lattice.high)
    return bool(inside.all() and np.array_equal(steps, np.rint(steps)))


@settings(max_examples=40, deadline=None)
@given(PROBLEMS)
def test_no_way_is_worse_than_rounding_to_the_nearest_once_chosen(given_problem):
    lattice, space = problem(*given_problem)
    nearest = space.error(lattice.nearest(space.target) * lattice.scale)
    for refine in (False, True):
        steps = closest(lattice, space, NearestPlane(space.hessian), refine=refine)
        assert is_on_grid(lattice, steps)
        assert (space.error(steps * lattice.scale) <= nearest * (1 + 1e-9)).all()


@settings(max_examples=30, deadline=None)
@given(PROBLEMS)
def test_no_single_step_helps_after_the_descent(given_problem):
    lattice, space = problem(*given_problem)
    start = lattice.nearest(space.target)
    steps = descended(lattice, space.hessian, space.target, start)
    assert is_on_grid(lattice, steps)
    error = space.error(steps * lattice.scale)
    assert (error <= space.error(start * lattice.scale) + 1e-9).all()
    for j in range(steps.shape[2]):
        for step in (-1.0, 1.0):
            moved = steps.copy()
            moved[:, :, j] = np.clip(moved[:, :, j] + step, -7.0, 7.0)
            assert (space.error(moved * lattice.scale) >= error * (1 - 1e-6) - 1e-9).all()


@settings(max_examples=30, deadline=None)
@given(PROBLEMS)
def test_the_best_corner_is_none_worse_than_any_corner(given_problem):
    lattice, space = problem(*given_problem)
    best = space.error(best_corner(lattice, space.hessian, space.target) * lattice.scale)
    down = np.floor(space.target / lattice.scale)
    k = space.target.shape[2]
    for corner in np.ndindex(*(2,) * k):
        steps = np.clip(down + np.asarray(corner, np.float64), -7.0, 7.0)
        assert (space.error(steps * lattice.scale) >= best * (1 - 1e-9) - 1e-12).all()


def test_inputs_that_have_nothing_to_do_with_each_other_are_rounded_to_the_nearest():
    lattice, space = problem(3, 2, 3, 5)
    diagonal = np.eye(5) * np.arange(1.0, 6.0)[None, :, None]
    hessian = np.broadcast_to(diagonal, (2, 5, 5))
    nearest = lattice.nearest(space.target)
    assert np.array_equal(NearestPlane(hessian).steps(lattice, space.target), nearest)
    assert np.array_equal(descended(lattice, hessian, space.target, nearest), nearest)


def test_many_inputs_go_block_by_block_with_the_same_result():
    """The rounding of 300 inputs, three blocks, against the definition, one input at a time."""
    lattice, space = problem(5, 1, 3, 300)
    found = NearestPlane(space.hessian).steps(lattice, space.target)
    order = np.argsort(np.diagonal(space.hessian[0]), kind="stable")
    lower = np.linalg.cholesky(space.hessian[0][np.ix_(order, order)])
    added = np.zeros((3, 300))
    for j in range(299, -1, -1):
        column = order[j]
        made_up = added[:, j + 1 :] @ lower[j + 1 :, j] / lower[j, j]
        aim, scale = space.target[0, :, column] - made_up, lattice.scale[0, :, column]
        steps = np.clip(np.rint(aim / scale), -7.0, 7.0)
        added[:, j] = steps * scale - space.target[0, :, column]
        assert np.array_equal(found[0, :, column], steps), column
    rounded = space.error(lattice.nearest(space.target) * lattice.scale)
    assert (space.error(found * lattice.scale) < rounded).all()
