"""How much work a quantization may cost: one table, from the user's word to pipelines.

    fast       seconds: statistics, and biases corrected with them
    balanced   under a minute: every layer fitted in closed form on the calibration samples
    best       minutes: ranges chosen by what they do to their readers, layers fitted on more of
               the samples' values, then biases and scales once more

Every pass in them is transactional: it keeps a change only where an error falls on samples that are
held out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from quantable.driver.stages import STAGE
from quantable.ir import UnknownNameError
from quantable.targets.description import Target


@dataclass(frozen=True, slots=True)
class Effort:
    """One row of the table.

    Attributes:
        name: What the user says.
        summary: For people.
        rewrites: Passes after `canonicalize` where weights have one scale a tensor.
        tuning: Passes after those of the stage `calibrate`.
    """

    name: str
    summary: str
    rewrites: tuple[str, ...] = ()
    tuning: tuple[str, ...] = ()

    @property
    def needs_samples(self) -> bool:
        """Whether a profile is not enough."""
        return bool(self.rewrites or self.tuning)


EFFORTS: Mapping[str, Effort] = MappingProxyType({
    effort.name: effort
    for effort in (
        Effort("fast", "seconds; a profile is enough"),
        Effort(
            "balanced", "under a minute for ResNet-50: layers are fitted to samples",
            ("silence-channels", "equalize-layers"), ("align", "calibrate-inputs", "gptq"),
        ),
        Effort(
            "best", "minutes for ResNet-50: ranges and layers are fitted to more of the samples",
            ("silence-channels", "equalize-layers"),
            (
                "calibrate-sensitive", "align", "calibrate-inputs", "gptq{rows=64}",
                "correct-bias-sequentially",
            ),
        ),
    )
})  # fmt: skip
"""Every effort by name, in the order of the work."""
DEFAULT = "fast"


def effort_of(name: str) -> Effort:
    """Return an effort by name.

    Raises:
        UnknownNameError: There is none.
    """
    if name not in EFFORTS:
        raise UnknownNameError("effort", name, EFFORTS)
    return EFFORTS[name]


def pipelines_of(name: str, target: Target) -> dict[str, str]:
    """Return the pipelines of an effort by stage; stages that are not there keep their own.

    Raises:
        UnknownNameError: No effort has the name.
    """
    effort = effort_of(name)
    found = {}
    is_per_tensor = not target.schemes["weight"].policy.has_axis
    if effort.rewrites and is_per_tensor:
        found["canonicalize"] = ",".join((STAGE["canonicalize"].pipeline, *effort.rewrites))
    if effort.tuning:
        found["calibrate"] = ",".join((STAGE["calibrate"].pipeline, *effort.tuning))
    return found
