"""All that a task trains, and the parameters of its graph that it does not."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from quantable.ir import QuantableOperation
from quantable.reference.simulated import taken_parameters
from quantable.training.differentiable import DifferentiableGraph, Key, parameter_tensors
from quantable.training.task import Array, Fit, Task
from quantable.training.variables import WEIGHTS, Bias, RoundedWeight, Scale, Weight


class Trained:
    """The variables of a task.

    Args:
        task: The task.
        net: Its graph.
    """

    def __init__(self, task: Task, net: DifferentiableGraph) -> None:
        self._graph = task.graph
        self._scales: dict[str, Scale] = {}
        self._activations = list(net.learnable_rows())
        for row, quantizer in net.learnable_rows().items():
            self._scales[row] = Scale(task.graph.rows[row], quantizer.config, row in task.scales)
        self.weights = {key: self._weight(task, key, kind) for key, kind in task.weights.items()}
        self.biases = {
            key: Bias(name, task.graph.array(name))
            for key in sorted(task.biases)
            for name in [task.graph.operation_by_name[key[0]].inputs[key[1]]]
        }
        self._others = {**parameter_tensors(net.graph), **_taken(net)}

    def groups(self, task: Task) -> list[dict[str, object]]:
        """Return what there is to train with its learning rates, for an optimizer."""
        weights = [item.leaf for item in self.weights.values() if item.leaf is not None]
        scales = [item.leaf for item in self._scales.values() if item.is_trained]
        biases = [item.leaf for item in self.biases.values()]
        rates = (task.weight_rate, task.scale_rate, task.bias_rate)
        found = zip((weights, scales, biases), rates, strict=True)
        return [{"params": leaves, "lr": rate} for leaves, rate in found if leaves]

    def values(self) -> tuple[dict[Key, Tensor], dict[str, Tensor]]:
        """Return parameters by where they are read, and scales of activations by row."""
        scales = {row: scale.value() for row, scale in self._scales.items()}
        held = dict(self._others)
        for key, weight in self.weights.items():
            held[key] = weight.value(scales[weight.scale.row.id])
        held.update((key, bias.value()) for key, bias in self.biases.items())
        return held, {row: scales[row] for row in self._activations}

    def rounded(self) -> list[RoundedWeight]:
        """Return the weights that choose between two integers."""
        return [item for item in self.weights.values() if isinstance(item, RoundedWeight)]

    def place(self, value: Tensor) -> str:
        """Return which operation a leaf belongs to, for messages."""
        held = {id(item.leaf): key[0] for key, item in self.weights.items()}
        held |= {id(item.leaf): key[0] for key, item in self.biases.items()}
        rows = {id(item.leaf): row for row, item in self._scales.items()}
        if id(value) in rows:
            return f"row '{rows[id(value)]}'"
        return self._graph.operation_by_name[held[id(value)]].where()

    def hardened(self, losses: tuple[float, float]) -> Fit:
        """Return what was found, as the target would compute with it."""
        rows = {row: scale.hardened() for row, scale in self._scales.items()}
        contents: dict[str, Array] = {}
        for weight in self.weights.values():
            found = weight.hardened(rows[weight.scale.row.id])
            if found is not None:
                contents[weight.name] = found
        for bias in self.biases.values():
            contents[bias.name] = bias.value().detach().numpy().copy()
        trained = [row for row, scale in self._scales.items() if scale.is_trained]
        return Fit(contents, {row: rows[row].scale_array for row in trained}, losses)

    def _weight(self, task: Task, key: Key, kind: str) -> Weight:
        graph, slot = task.graph, key[1]
        op = graph.operation_by_name[key[0]]
        assert isinstance(op, QuantableOperation)
        config, name = op.config.inputs[slot], op.inputs[slot]
        row = config.row
        if row not in self._scales:
            self._scales[row] = Scale(graph.rows[row], config, row in task.scales)
        original = op.original(slot)
        present = graph.array(name)
        first = present if original is None else graph.store.get(original)
        return WEIGHTS[kind](name, config, self._scales[row], present, first, task.begins_anew)


def _taken(net: DifferentiableGraph) -> Mapping[Key, Tensor]:
    """Return the parameters that are quantized as the reference runtime does it."""
    with torch.no_grad():
        return {
            (op.name, slot): tensor
            for op in net.graph.quantable_operations
            for slot, tensor in taken_parameters(net.graph, op).items()
        }
