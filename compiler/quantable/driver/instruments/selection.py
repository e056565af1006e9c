"""Which instruments a run has: the checks always, the others by option."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from quantable.driver.instruments.dump import Dump
from quantable.driver.instruments.remarks import RemarkPrinter, Say
from quantable.driver.instruments.statistics import Statistics
from quantable.driver.instruments.timing import Timing, lines
from quantable.passes.base import CHECKS
from quantable.passes.instruments.instrument import Instrument

Remark = tuple[str, str, str]


@dataclass(frozen=True)
class Selection:
    """The instruments of one run; no result depends on them.

    Attributes:
        say: Where lines for a person go.
        timing, statistics: None where they were not asked for.
        dump: As above.
        remarks: As above.
    """

    say: Say
    timing: Timing | None = None
    statistics: Statistics | None = None
    dump: Dump | None = None
    remarks: RemarkPrinter | None = None

    @staticmethod
    def of(
        say: Say,
        *,
        timing: bool = False,
        statistics: bool = False,
        dump: Path | None = None,
        dump_filter: str = "",
        dump_when: str = "changed",
        remarks: bool = False,
    ) -> Selection:
        """Return what was asked for.

        Raises:
            OptionError, UnknownNameError: An option of the dump cannot be used.
        """
        return Selection(
            say,
            Timing() if timing else None,
            Statistics() if statistics else None,
            Dump(dump, dump_filter, dump_when) if dump else None,
            RemarkPrinter(say) if remarks else None,
        )

    @property
    def instruments(self) -> tuple[Instrument, ...]:
        """For `run_passes`: outermost first, the clocks innermost."""
        asked = [one for one in (self.dump, self.statistics, self.remarks) if one is not None]
        if self.timing is None:
            return (*asked, *CHECKS)
        return (*(self.timing.of(one) for one in (*asked, *CHECKS)), self.timing)

    @property
    def needs_passes(self) -> bool:
        """Whether passes have to run for their own sake, so that no result is fetched."""
        return self.dump is not None or self.statistics is not None

    def repeat(self, remarks: Sequence[Remark]) -> None:
        """Say what passes said when they ran, where remarks were asked for."""
        if self.remarks is not None:
            self.remarks.tell(remarks)

    def measure(self, name: str) -> AbstractContextManager[None]:
        """Measure what is no pass: reading, serialisation, emission."""
        return self.timing.measure(name) if self.timing else nullcontext()

    def finish(self, remarks: Sequence[Remark] = ()) -> None:
        """Say what was collected, and that there are remarks where they were not asked for."""
        if remarks and self.remarks is None:
            self.say(f"{len(remarks)} remarks of the passes; show them with --remarks")
        if self.statistics is not None:
            for effect in self.statistics.effects:
                self.say(f"statistics: {effect}")
        if self.timing is not None:
            for line in lines(self.timing.rows):
                self.say(f"timing: {line}")
