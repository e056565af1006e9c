"""What a bisection leaves: the last good graph, the first bad one, and a reproducer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from quantable.driver.bisect.bisection import Finding
from quantable.driver.emission import prepare_folder
from quantable.driver.pipelines import canonical
from quantable.driver.reproduce import reproducer
from quantable.ir import Graph
from quantable.passes.base import PassContext
from quantable.schema import save


def write_finding(finding: Finding, context: PassContext, folder: Path) -> dict[str, str]:
    """Write the graphs of a finding, weights inside.

    Returns:
        Name of the file by 'good', 'bad' (not there where the pass fails) and 'reproducer'.

    Raises:
        OptionError: The folder cannot be written to.
    """
    prepare_folder(folder)
    stem = f"bisect-{finding.run.item.name}"
    total = len(finding.run.rewrites)
    marks = {"good": f"{max(finding.first - 1, 0)} of {total}", "bad": f"{finding.last} of {total}"}
    repro = reproducer(finding.run.before, [finding.run.item], context, _facts(finding))
    graphs = {"good": finding.good, "bad": finding.bad.graph, "reproducer": repro}
    files: dict[str, str] = {}
    for role, graph in graphs.items():
        if graph is not None:
            files[role] = f"{stem}-{role}.qir"
            kept = _marked(graph, finding, marks[role]) if role in marks else graph
            save(kept, folder / files[role], inline_limit=None)
    return files


def _facts(finding: Finding) -> dict[str, str]:
    return {
        "pass": finding.run.item.name,
        "rewrite": str(finding.last),
        "message": finding.bad.failure or f"rewrite {finding.last} is bad, says the oracle",
    }


def _marked(graph: Graph, finding: Finding, rewrites: str) -> Graph:
    """Say in a graph that it is no stage, but a pass that was stopped."""
    marks = {"bisect.pass": finding.run.item.name, "bisect.rewrites": rewrites}
    return replace(graph, metadata={**graph.metadata, **marks})


def finding_facts(finding: Finding, files: Mapping[str, str]) -> dict[str, object]:
    """Return what there is to say about a finding."""
    first, last = finding.first, finding.last
    return {
        "pass": finding.run.item.name,
        "options": canonical([finding.run.item]),
        "position": finding.position,
        "suspects": list(finding.suspects),
        "rewrite": last if first == last else None,
        "rewrites": [first, last],
        "of": len(finding.run.rewrites),
        "operations": list(finding.operations),
        "failure": finding.bad.failure or None,
        "oracle_calls": finding.calls,
        **files,
    }
