"""Stages of one compilation, each taken from the cache where it holds the result.

With and without a cache, and whatever watches the passes, the results are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantable.driver import api, cache_keys
from quantable.driver.cache import Cache, changed
from quantable.driver.context import context_for
from quantable.driver.data import Samples
from quantable.driver.emission import install_files
from quantable.driver.instruments.selection import Selection
from quantable.driver.operations import library_of
from quantable.driver.pipelines import resolve
from quantable.driver.reproduce import run_passes
from quantable.driver.stages import STAGE
from quantable.driver.tuning_data import TuningData
from quantable.ir import Graph, OperationLibrary, Profile, UserError
from quantable.targets.description import Target

if TYPE_CHECKING:
    from quantable.driver.compile import Calibration

Say = Callable[[str], None]


@dataclass
class Staging:
    """Runs stages, or fetches what they gave before.

    Attributes:
        target: What is compiled for.
        selection: What watches the passes.
        cache: None to compute everything.
        tuning: Calibration samples, for passes that fit; None for a profile alone.
        say: Told whether each stage came from the cache and, where not, what changed.
        stored: Whether anything new went into the cache.
        operations: The user operations at hand; by default those of installed packages.
    """

    target: Target
    selection: Selection
    cache: Cache | None = None
    say: Say = lambda _: None
    tuning: TuningData | None = None
    stored: bool = False
    operations: OperationLibrary | None = None

    def import_model(self, path: Path) -> Graph:
        """Stage `import`. A model with external data is imported every time."""
        cache = self.cache
        if cache is None or not path.is_file():
            return api.import_model(path, self.operations)
        library = library_of() if self.operations is None else self.operations
        with self.selection.measure("cache"):
            components = cache_keys.model_components(path, library)
            found = cache.graph("import", components)
        if found is not None:
            self._hit("import")
            return replace(found[0], library=library)
        self._missed("import", components)
        with self.selection.measure("import"):
            graph = api.import_model(path, library)
        if graph.history[0].data_digest != components["model"]:
            self.say("import: not kept, the model has external data or is just being written")
        else:
            self._keep(lambda: cache.keep_graph("import", components, graph, ()))
        return graph

    def run(
        self, stage: str, pipeline: str, graph: Graph, profile: Profile | None = None
    ) -> tuple[Graph, api.Remarks]:
        """Run the pipeline of a stage; returns the graph and what the passes said."""
        items = resolve(pipeline)
        # The float stages serve all targets, unless passes judge by what one would compute.
        is_for_all = stage == "canonicalize" and pipeline == STAGE[stage].pipeline
        target = None if is_for_all else self.target
        context = context_for(graph, target, profile)
        if self.tuning is not None:
            self.tuning.equip(context, graph)
        cache = self.cache
        if cache is None:
            made = run_passes(graph, items, context, self.selection.instruments)
            return made, context.remarks
        digest = "" if target is None else target.digest
        with self.selection.measure("cache"):
            components = cache_keys.pass_components(graph, items, context, digest)
            found = None if self.selection.needs_passes else cache.graph(stage, components)
        if found is not None:
            self._hit(stage)
            self.selection.repeat(found[1])
            return replace(found[0], library=graph.library), found[1]
        if not self.selection.needs_passes:
            self._missed(stage, components)
        made = run_passes(graph, items, context, self.selection.instruments)
        self._keep(lambda: cache.keep_graph(stage, components, made, context.remarks))
        return made, context.remarks

    def observe(self, calibration: Calibration, graph: Graph) -> Profile:
        """Stage `observe`; a profile that was given is taken as it is."""
        cache, data = self.cache, calibration.data
        if cache is None or data is None:
            return calibration.profile_of(graph)
        if not isinstance(data, (str, Path, Mapping, Samples)) and not hasattr(data, "shape"):
            data = list(data)  # an iterator could not be read twice
            calibration = replace(calibration, data=data)
        with self.selection.measure("cache"):
            components = cache_keys.observe_components(
                graph, data, calibration.preprocessing, calibration.samples
            )
            found = cache.profile("observe", components)
        if found is not None:
            self._hit("observe")
            return found
        self._missed("observe", components)
        with self.selection.measure("observe"):
            profile = calibration.profile_of(graph)
        self._keep(lambda: cache.keep_profile("observe", components, profile))
        return profile

    def emit(self, graph: Graph, folder: Path, target: str | Path) -> Mapping[str, Any]:
        """Stage `emit`."""
        cache = self.cache
        if cache is None:
            return api.emit(graph, folder, target=target)
        components = cache_keys.emit_components(graph, self.target.digest)
        with self.selection.measure("cache"):
            found = install_files(lambda scratch: cache.files("emit", components, scratch), folder)
        if found is not None:
            self._hit("emit")
            return found
        self._missed("emit", components)
        with self.selection.measure("emit"):
            manifest = api.emit(graph, folder, target=target)
        self._keep(lambda: cache.keep_files("emit", components, folder, manifest))
        return manifest

    def finish(self) -> None:
        """Bring the cache back to its size."""
        if self.cache is not None and self.stored:
            try:
                self.cache.trim()
            except (OSError, UserError) as error:
                self.say(f"cache: could not be trimmed: {error}")

    def _hit(self, stage: str) -> None:
        self.say(f"{stage}: cached")

    def _missed(self, stage: str, components: cache_keys.Components) -> None:
        assert self.cache is not None
        near = self.cache.nearest(stage, components)
        why = ", ".join(changed(components, near.components)) if near else "nothing of this stage"
        self.say(f"{stage}: not cached ({'changed: ' if near else 'the cache has '}{why})")

    def _keep(self, store: Callable[[], None]) -> None:
        with self.selection.measure("cache"):
            store()
        self.stored = True
