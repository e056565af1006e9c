"""Results of stages, addressed by what they were made from.

    DIR/quantable-1/entries/STAGE-KEY.json    what an entry holds, and the components of its key
    DIR/quantable-1/objects/KEY.qir           a graph or, as .qprof, a profile
    DIR/quantable-1/objects/segments/SHA256   parameters and emitted files, shared by all entries
    DIR/quantable-1/lock

Every file is written beside its place and renamed, an entry last: killed at any moment, an entry is
whole or absent. Whoever reads or writes holds the lock together with others, whoever removes files
holds it alone; the system gives it back when a process dies. Everything is checked by digest when
it is read: an entry that does not agree counts as absent, and is removed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from quantable.driver.cache_keys import Components, file_digest, key_of
from quantable.driver.emission import prepare_folder, write_text
from quantable.ir import FormatError, Graph, Profile, UserError
from quantable.schema import load, load_profile, save, save_profile
from quantable.schema.graph_file import INLINE_LIMIT
from quantable.schema.segments import FOLDER as SEGMENTS

FOLDER = "quantable-1"
"""Inside the given folder; nothing outside it is ever touched. The number is the layout's."""
DEFAULT_LIMIT = 4 << 30
Say = Callable[[str], None]
Remark = tuple[str, str, str]
Found = TypeVar("Found")


@dataclass(frozen=True)
class Entry:
    """One result.

    Attributes:
        stage: Name of the stage.
        components: What the key was made from.
        file: Name of the graph or profile among the objects, '' for emitted files.
        sha256: Digest of `file`.
        segments: Digests of the other objects that belong to it.
        remarks: What the passes said.
        manifest: Of emitted files.
    """

    stage: str
    components: Components
    file: str = ""
    sha256: str = ""
    segments: tuple[str, ...] = ()
    remarks: tuple[Remark, ...] = ()
    manifest: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return key_of(self.stage, self.components)

    @property
    def name(self) -> str:
        """File name of the entry."""
        return f"{self.stage}-{self.key}.json"

    def text(self) -> str:
        """Return the entry as JSON, with a digest over itself."""
        table = {
            "stage": self.stage, "components": dict(self.components), "file": self.file,
            "sha256": self.sha256, "segments": list(self.segments),
            "remarks": [list(remark) for remark in self.remarks], "manifest": dict(self.manifest),
        }  # fmt: skip
        body = json.dumps(table, ensure_ascii=False)
        check = hashlib.sha256(body.encode()).hexdigest()
        return f"{check}\n{body}\n"

    @staticmethod
    def of(text: str, name: str) -> Entry:
        """Return the entry that a text holds.

        Raises:
            FormatError: The text is damaged, or belongs to another name.
        """
        check, _, body = text.partition("\n")
        body = body.removesuffix("\n")
        if hashlib.sha256(body.encode()).hexdigest() != check:
            raise FormatError("the entry's digest does not agree", where=name)
        table = json.loads(body)
        remarks = tuple((str(a), str(b), str(c)) for a, b, c in table.pop("remarks"))
        entry = Entry(**{**table, "segments": tuple(table["segments"]), "remarks": remarks})
        if entry.name != name:
            raise FormatError(f"the entry is that of {entry.name}", where=name)
        return entry


class Cache:
    """A folder of results that may be shared by any number of processes."""

    def __init__(self, folder: str | Path, limit: int = DEFAULT_LIMIT, say: Say | None = None):
        """Open a cache.

        Args:
            folder: Made where it is missing.
            limit: Bytes that `trim` leaves at most.
            say: Told about damaged entries and failed writes, which change no result.

        Raises:
            OptionError: The folder cannot be written to.
        """
        self.root = Path(folder) / FOLDER
        self.limit = limit
        self.say: Say = say or (lambda _: None)
        self._entries, self._objects = self.root / "entries", self.root / "objects"
        self._segments = self._objects / SEGMENTS
        for part in (self._entries, self._segments):
            prepare_folder(part)

    def graph(self, stage: str, components: Components) -> tuple[Graph, list[Remark]] | None:
        """Return a stage's graph and remarks, or None."""
        return self._found(stage, components, self._read_graph)

    def profile(self, stage: str, components: Components) -> Profile | None:
        """Return a stage's profile, or None."""
        return self._found(stage, components, self._read_profile)

    def files(
        self, stage: str, components: Components, folder: Path
    ) -> Mapping[str, Any] | None:  # fmt: skip
        """Write emitted files to a folder and return their manifest, or None."""
        return self._found(stage, components, lambda entry: self._read_files(entry, folder))

    def keep_graph(
        self, stage: str, components: Components, graph: Graph, remarks: Sequence[Remark]
    ) -> None:
        """Store a stage's graph and remarks."""
        path = self._objects / f"{key_of(stage, components)}.qir"
        outside = [d for d, ref in graph.contents().items() if ref.size_bytes > INLINE_LIMIT]

        def write() -> Entry:
            save(graph, path)
            held = (path.name, file_digest(path), tuple(outside), tuple(remarks))
            return Entry(stage, components, *held)

        self._keep(write)

    def keep_profile(self, stage: str, components: Components, profile: Profile) -> None:
        """Store a stage's profile."""
        path = self._objects / f"{key_of(stage, components)}.qprof"

        def write() -> Entry:
            save_profile(profile, path)
            return Entry(stage, components, path.name, file_digest(path))

        self._keep(write)

    def keep_files(
        self, stage: str, components: Components, folder: Path, manifest: Mapping[str, Any]
    ) -> None:
        """Store emitted files that lie in a folder as their manifest says."""
        digests = {name: str(facts["sha256"]) for name, facts in manifest["files"].items()}

        def write() -> Entry:
            for name, digest in digests.items():
                self._keep_segment((folder / name).read_bytes(), digest, name)
            return Entry(
                stage, components, segments=tuple(sorted(set(digests.values()))), manifest=manifest
            )

        self._keep(write)

    def _keep_segment(self, data: bytes, digest: str, name: str) -> None:
        if hashlib.sha256(data).hexdigest() != digest:
            raise FormatError("was changed by somebody else meanwhile", where=name)
        path = self._segments / digest
        if not path.is_file():
            scratch = path.with_name(f".{digest}-{os.getpid()}.tmp")
            scratch.write_bytes(data)
            scratch.replace(path)

    def _keep(self, write: Callable[[], Entry]) -> None:
        try:
            with self.lock(alone=False):
                entry = write()
                write_text(entry.text(), self._entries / entry.name)
        except (OSError, UserError) as error:
            self.say(f"cache: a result could not be stored: {error}")

    def _found(
        self, stage: str, components: Components, read: Callable[[Entry], Found]
    ) -> Found | None:
        name = f"{stage}-{key_of(stage, components)}.json"
        path = self._entries / name
        try:
            with self.lock(alone=False):
                if not path.is_file():
                    return None
                entry = Entry.of(path.read_text(encoding="utf-8"), name)
                result = read(entry)
                os.utime(path)  # what was used last is evicted last
                return result
        except (OSError, ValueError, KeyError, TypeError, FormatError) as error:
            self.say(f"cache: the entry of stage {stage} is damaged and was removed: {error}")
            self._discard(path)
            return None

    def _read_graph(self, entry: Entry) -> tuple[Graph, list[Remark]]:
        graph = load(self._checked(entry))
        for digest in graph.contents():
            graph.store.raw(digest)
        return graph, list(entry.remarks)

    def _read_profile(self, entry: Entry) -> Profile:
        return load_profile(self._checked(entry))

    def _checked(self, entry: Entry) -> Path:
        path = self._objects / entry.file
        if file_digest(path) != entry.sha256:
            raise FormatError("the file's digest does not agree", where=entry.file)
        return path

    def _read_files(self, entry: Entry, folder: Path) -> Mapping[str, Any]:
        for name, facts in entry.manifest["files"].items():
            data = (self._segments / facts["sha256"]).read_bytes()
            if hashlib.sha256(data).hexdigest() != facts["sha256"]:
                raise FormatError("the file's digest does not agree", where=name)
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        return entry.manifest

    def _discard(self, path: Path) -> None:
        """Remove an entry, and every segment that is not what its name says."""
        with contextlib.suppress(OSError), self.lock(alone=True):
            path.unlink(missing_ok=True)
            for segment in self._segments.iterdir():
                if segment.name.startswith(".") or file_digest(segment) != segment.name:
                    segment.unlink(missing_ok=True)

    @contextlib.contextmanager
    def lock(self, *, alone: bool) -> Iterator[None]:
        """Hold the lock, alone or together with others that do not remove files."""
        with open(self.root / "lock", "ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
            yield  # closing the file gives the lock back

    def entries(self) -> list[tuple[Entry, float]]:
        """Return every whole entry with the time of its last use (seconds), latest first."""
        with self.lock(alone=False):
            return self._read_entries()

    def _read_entries(self) -> list[tuple[Entry, float]]:
        found = []
        for path in self._entries.glob("[!.]*.json"):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError, FormatError):
                entry = Entry.of(path.read_text(encoding="utf-8"), path.name)
                found.append((entry, path.stat().st_mtime))
        return sorted(found, key=lambda item: (-item[1], item[0].name))

    def size_of(self, entry: Entry) -> int:
        """Return the bytes that an entry refers to, shared ones included."""
        return sum(size for _, size in self._sizes(entry).items())

    def _sizes(self, entry: Entry) -> dict[Path, int]:
        paths = [self._entries / entry.name, *(self._segments / d for d in entry.segments)]
        if entry.file:
            paths.append(self._objects / entry.file)
        return {path: path.stat().st_size for path in paths if path.is_file()}

    def size(self) -> int:
        """Return the bytes of all files."""
        return sum(path.stat().st_size for path in self._files())

    def _files(self) -> list[Path]:
        parts = (self._entries, self._objects, self._segments)
        return [path for part in parts for path in part.iterdir() if path.is_file()]

    def trim(self, limit: int | None = None) -> tuple[int, int]:
        """Remove what was used least recently, and what no entry refers to.

        Args:
            limit: Bytes to leave at most; by default the cache's limit.

        Returns:
            Number of removed entries, and of freed bytes.
        """
        with self.lock(alone=True):
            entries = [entry for entry, _ in self._read_entries()]
            kept = self._recent(entries, self.limit if limit is None else limit)
            removed = [path for path in self._files() if path not in kept]
            count = sum(path.suffix == ".json" for path in removed)
            freed = sum(path.stat().st_size for path in removed)
            # Entries first: killed in between, no entry refers to what is gone.
            for path in sorted(removed, key=lambda path: path.suffix != ".json"):
                path.unlink(missing_ok=True)
        return count, freed

    def _recent(self, entries: Sequence[Entry], limit: int) -> dict[Path, int]:
        """Return the files of the latest entries that fit together, with their sizes."""
        kept: dict[Path, int] = {}
        for entry in entries:
            sizes = self._sizes(entry)
            if sum(sizes.values()) > limit:
                continue  # it would drive out everything else and still not fit
            if sum({**kept, **sizes}.values()) > limit:
                break
            kept |= sizes
        return kept

    def clear(self) -> tuple[int, int]:
        """Remove everything; returns as `trim`."""
        return self.trim(0)

    def nearest(self, stage: str, components: Components) -> Entry | None:
        """Return the entry of a stage that differs in the fewest components."""
        same = [entry for entry, _ in self.entries() if entry.stage == stage]
        own = key_of(stage, components)
        others = [entry for entry in same if entry.key != own]
        return min(
            others, key=lambda entry: len(changed(components, entry.components)), default=None
        )


def changed(new: Components, old: Components) -> list[str]:
    """Return the names of the components that differ, in the order of `new`."""
    names = dict.fromkeys((*new, *old))
    return [name for name in names if new.get(name) != old.get(name)]
