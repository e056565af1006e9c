"""Fitting a part of a quantized graph to float values by gradients (Adam).

Each batch is cut into two fixed parts, each computed in one thread, and their gradients are added
in one order; random numbers depend on seed, stream and step. So neither the number of threads nor
what runs besides changes a bit. Rates fall along half a cosine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from quantable.ir import UnsupportedError
from quantable.reference.free_batch import with_free_batch
from quantable.reference.tensors import to_tensor
from quantable.reference.threads import one_thread, single_threaded_pool
from quantable.training.batches import BatchRunner
from quantable.training.differentiable import DifferentiableGraph
from quantable.training.random_numbers import batches, masks
from quantable.training.storage import release
from quantable.training.task import Array, Fit, Task
from quantable.training.trained import Trained

_PARTS = 2
_SHOWN = 10
"""Over how many steps the losses of a result are averaged."""
_WARM_UP = 0.2
"""Share of the steps in which rounding is free to go anywhere."""
_BETA = (20.0, 2.0)
_RELEASE = 16
Ids = npt.NDArray[np.int64]


class _NotFinite(Exception):
    """A loss or gradient that is not finite; says where."""


def fitted(task: Task) -> Fit:
    """Fit what a task names; a result with a failure where that cannot be done."""
    with one_thread():
        try:
            return _Fitting(task).run()
        except (UnsupportedError, _NotFinite) as error:
            where = error.where if isinstance(error, UnsupportedError) else ""
            return Fit(failure=f"{where}: {error.args[0]}" if where else str(error.args[0]))


class _Fitting:
    """One task while it is worked on."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._net = DifferentiableGraph(with_free_batch(task.graph))
        self._trained = Trained(task, self._net)
        self._powers = {name: self._power(name) for name in task.targets}
        runner = BatchRunner(task.graph, self._read, tuple(task.targets))
        self._is_batched = runner.takes_batches(list(task.samples))
        self._key = (task.seed, task.stream)

    def run(self) -> Fit:
        """Take all steps, and harden what they led to."""
        task = self._task
        optimizer = torch.optim.Adam(self._trained.groups(task), foreach=False)
        rates = [group["lr"] for group in optimizer.param_groups]
        losses = []
        source = batches(task.samples, task.batch, self._key)
        with single_threaded_pool(_PARTS) as pool:
            for step, ids in zip(range(task.steps), source, strict=False):
                for group, rate in zip(optimizer.param_groups, rates, strict=True):
                    group["lr"] = rate * 0.5 * (1.0 + math.cos(math.pi * step / task.steps))
                optimizer.zero_grad()
                losses.append(self._gradients(pool, step, ids))
                optimizer.step()
                self._harden((step + 1) / task.steps)
                if step % _RELEASE == 0:
                    self._release()
        self._release()
        ends = (float(np.mean(losses[:_SHOWN])), float(np.mean(losses[-_SHOWN:])))
        return self._trained.hardened(ends)

    def _gradients(self, pool: ThreadPoolExecutor, step: int, ids: Ids) -> float:
        """Give every leaf the gradient of a batch's loss; return the loss."""
        values = self._trained.values()
        # Cut off from what they are computed of, so that threads share no graph.
        apart = tuple(
            {k: v.detach().requires_grad_(v.requires_grad) for k, v in held.items()}
            for held in values
        )
        sources = [v for held in values for v in held.values() if v.requires_grad]
        futures = [
            pool.submit(self._part, part, len(ids), apart, step, number)
            for number, part in enumerate(np.array_split(ids, _PARTS))
        ]
        found = [future.result() for future in futures]
        loss = sum(item[0] for item in found)
        if not math.isfinite(loss):
            raise _NotFinite(f"the loss is not finite in step {step}: {self._culprit(ids, apart)}")
        sums = [_sum(gradients) for gradients in zip(*(item[1] for item in found), strict=True)]
        pairs = [(v, g) for v, g in zip(sources, sums, strict=True) if g is not None]
        if not pairs:
            raise UnsupportedError("no gradient reaches what is to be fitted",
                                   where=self._culprit(ids, apart))  # fmt: skip
        torch.autograd.backward([v for v, _ in pairs], [g for _, g in pairs])
        self._check_gradients(step)
        return loss

    def _part(
        self, ids: Ids, count: int, apart: Sequence[Mapping[Any, Tensor]], step: int, number: int
    ) -> tuple[float, list[Tensor | None]]:
        """Return loss and gradients of a part of a batch of `count` samples."""
        leaves = [v for held in apart for v in held.values() if v.requires_grad]
        chunks = [ids] if self._is_batched else list(ids.reshape(-1, 1))
        totals: list[Tensor | None] = [None] * len(leaves)
        loss = 0.0
        for place, chunk in enumerate(chunks):
            error = self._loss(chunk, apart, (step, number * count + place))
            error = error * (len(chunk) / count)
            loss += float(error.detach())
            if error.requires_grad:
                found = torch.autograd.grad(error, leaves, allow_unused=True)
                totals = [_sum(pair) for pair in zip(totals, found, strict=True)]
        return loss, totals

    def _loss(
        self, ids: Ids, apart: Sequence[Mapping[Any, Tensor]], place: tuple[int, int]
    ) -> Tensor:
        task = self._task
        given = {name: _joined(task.feeds[name][ids]) for name in task.graph.inputs}
        if task.drop:
            mask = masks(task.drop, self._key, *place)
            for name, array in task.originals.items():
                whole = _joined(array[ids])
                given[name] = torch.where(mask(whole), whole, given[name])
            found = self._net.run(given, apart[0], apart[1], tuple(task.targets), mask)
        else:
            found = self._net.run(given, apart[0], apart[1], tuple(task.targets))
        error = torch.zeros(())
        for name, array in task.targets.items():
            target = _joined(array[ids]).reshape(found[name].shape)
            error = error + (found[name] - target).square().mean() / self._powers[name]
        return error / len(task.targets)

    def _harden(self, progress: float) -> None:
        """Push each choice between two integers towards the nearer one.

        The push is that of the regulariser ``1 - |2 h - 1|**beta``, but as decay is in AdamW it is
        no part of the loss: measured in the steps that Adam takes, it means the same to every
        weight of every network. It grows until nothing else counts, so that what was learned
        hardens.
        """
        if progress < _WARM_UP:
            return
        share = (progress - _WARM_UP) / (1.0 - _WARM_UP)
        beta = _BETA[1] + (_BETA[0] - _BETA[1]) * 0.5 * (1.0 + math.cos(math.pi * share))
        with torch.no_grad():
            for weight in self._trained.rounded():
                assert weight.leaf is not None
                side = 2.0 * weight.share() - 1.0
                push = torch.sign(side) * side.abs().pow(beta - 1.0)
                weight.leaf += self._task.weight_rate * self._task.hardening * share * push

    def _check_gradients(self, step: int) -> None:
        for group in self._trained.groups(self._task):
            for leaf in group["params"]:  # type: ignore[attr-defined] # a list of tensors
                if leaf.grad is not None and not bool(torch.isfinite(leaf.grad).all()):
                    place = self._trained.place(leaf)
                    raise _NotFinite(f"the gradient is not finite in step {step}: {place}")

    def _culprit(self, ids: Ids, apart: Sequence[Mapping[Any, Tensor]]) -> str:
        """Return the first operation whose outputs are not finite, or that ends gradients."""
        operations = self._task.graph.operations
        names = tuple(name for op in operations for name in op.outputs if name)
        chosen = ids if self._is_batched else ids[:1]
        given = {name: _joined(self._task.feeds[name][chosen]) for name in self._task.graph.inputs}
        found = self._net.run(given, apart[0], apart[1], names)
        reached = {key[0] for key, value in apart[0].items() if value.requires_grad}
        for op in operations:
            outputs = [
                found[name] for name in op.outputs if name and found[name].is_floating_point()
            ]
            if not all(bool(torch.isfinite(value).all()) for value in outputs):
                return op.where()
            is_reached = op.name in reached or any(
                name in found and found[name].requires_grad for name in op.inputs
            )
            if is_reached and not any(value.requires_grad for value in outputs):
                return op.where()
        return f"graph '{self._task.graph.name}'"

    def _power(self, name: str) -> float:
        """Return the mean square of a target; 1 where it is nothing."""
        array, samples = self._task.targets[name], self._task.samples
        total = sum(float(np.square(array[i].astype(np.float64)).mean()) for i in samples)
        release(array)
        if not math.isfinite(total):
            raise _NotFinite(f"float value '{name}' is not finite: {self._maker(name)}")
        return total / len(samples) if total > 0 else 1.0

    def _maker(self, name: str) -> str:
        maker = self._task.graph.producers.get(name)
        return maker.where() if maker else f"input of graph '{self._task.graph.name}'"

    def _read(self, samples: Sequence[int]) -> dict[str, Array]:
        ids = np.asarray(samples, np.int64)
        return {name: np.asarray(self._task.feeds[name][ids]) for name in self._task.graph.inputs}

    def _release(self) -> None:
        for held in (self._task.feeds, self._task.targets, self._task.originals):
            for array in held.values():
                release(array)


def _joined(array: Array) -> Tensor:
    """Return samples [n, batch, ...] as one batch; what has no batch dimension as it is."""
    if array.ndim < 2:
        return to_tensor(array[0])
    return to_tensor(np.ascontiguousarray(array).reshape(-1, *array.shape[2:]))


def _sum(items: Sequence[Tensor | None]) -> Tensor | None:
    total: Tensor | None = None
    for item in items:
        if item is not None:
            total = item if total is None else total + item
    return total
