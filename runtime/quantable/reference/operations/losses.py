"""Losses of ONNX."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from quantable.reference.site import Builder, Kernel, Site


def _loss(site: Site) -> tuple[str, int | None]:
    reduction = site.operation.string_attribute("reduction", "mean")
    if reduction not in ("none", "mean", "sum"):
        raise site.refuse(f"attribute 'reduction': found {reduction}")
    ignored = site.operation.attributes.get("ignore_index")
    return reduction, ignored if isinstance(ignored, int) else None


def _nll(
    logs: Tensor, target: Tensor, weight: Tensor | None, reduction: str, ignored: int | None
) -> Tensor:
    """Return the negative log-likelihood of classes [N, d...] given logs [N, C, d...]."""
    classes = target.to(torch.int64)
    is_ignored = torch.zeros_like(classes, dtype=torch.bool)
    if ignored is not None:
        is_ignored = classes == ignored
        classes = torch.where(is_ignored, torch.zeros_like(classes), classes)
    weights = torch.ones_like(logs[0, :].reshape(logs.shape[1], -1)[:, 0])
    weights = (weights if weight is None else weight)[classes]
    weights = torch.where(is_ignored, torch.zeros_like(weights), weights)
    loss = -logs.gather(1, classes.unsqueeze(1)).squeeze(1) * weights
    if reduction == "none":
        return loss
    return loss.sum() if reduction == "sum" else loss.sum() / weights.sum()


def _negative_log_likelihood(site: Site) -> Kernel:
    reduction, ignored = _loss(site)
    return lambda x, target, weight=None: _nll(x, target, weight, reduction, ignored)


def _softmax_cross_entropy(site: Site) -> Kernel:
    reduction, ignored = _loss(site)

    def run(scores: Tensor, labels: Tensor, weight: Tensor | None = None) -> tuple[Tensor, Tensor]:
        logs = functional.log_softmax(scores, 1)
        return _nll(logs, labels, weight, reduction, ignored), logs

    return run


TABLE: dict[str, Builder] = {
    "NegativeLogLikelihoodLoss": _negative_log_likelihood,
    "SoftmaxCrossEntropyLoss": _softmax_cross_entropy,
}
