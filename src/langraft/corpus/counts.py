"""Counts of what was read, kept, dropped and broken, of each part and summed for each stream."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from langraft.core.document import BrokenRecord
from langraft.core.errors import CorpusError
from langraft.core.files import read_json_object
from langraft.corpus.reading.records import EMPTY, encodable

_MAX_SHOWN = 5  # broken records in messages
MAX_EXAMPLES = 20  # dropped documents kept for each reason
_EXCERPT = 300  # characters of each
_Read = TypeVar("_Read")


@dataclass
class BrokenCount:
    """Counts broken records of one source and stream, by reason, and all records read."""

    max_share: float
    num_records: int = 0
    by_reason: Counter[str] = field(default_factory=Counter[str])
    places: list[str] = field(default_factory=list[str])

    def good(self, records: Iterable[_Read | BrokenRecord]) -> Iterator[_Read]:
        """Yield the valid records and count the broken ones.

        Raises:
            CorpusError: when too many of 10,000 or more records are broken; call ``check`` at the
                end for fewer.
        """
        for record in records:
            self.num_records += 1
            if not isinstance(record, BrokenRecord):
                yield record
                continue
            self.by_reason[record.reason] += 1
            if len(self.places) < _MAX_SHOWN:
                place = encodable(str(record.path)) + (f":{record.line}" if record.line else "")
                excerpt = f": {record.excerpt}" if record.excerpt else ""
                self.places.append(f"{place}: {record.reason}{excerpt}")
            if self.num_records >= 10_000:
                self.check()

    def add(self, other: BrokenCount) -> None:
        """Add the counts of another part of the same source and stream."""
        self.num_records += other.num_records
        self.by_reason += other.by_reason
        self.places = [*self.places, *other.places][:_MAX_SHOWN]

    @property
    def num_counted(self) -> int:
        """Broken records that count against the limit.

        Empty texts and files lose nothing, so they do not, unless they are the most: then another
        column is probably that of the text.
        """
        num_empty = sum(self.by_reason[reason] for reason in EMPTY)
        is_much = 2 * num_empty > self.num_records
        return self.by_reason.total() - (0 if is_much else num_empty)

    def check(self) -> None:
        """Raise CorpusError, with reasons and first records, when the limit is exceeded."""
        broken = self.num_counted
        if broken <= self.max_share * self.num_records:
            return
        raise CorpusError(
            self.described(f"; allowed is a share of {self.max_share:g} (max_broken of the source)")
            + "\nRepair the files, or raise max_broken to continue without these records."
        )

    def described(self, remark: str = "") -> str:
        """Return how many are broken, why, a remark, and the first ones on lines of their own."""
        reasons = ", ".join(f"{count} x {reason}" for reason, count in self.by_reason.most_common())
        places = "\n".join(f"  {place}" for place in self.places)
        return (
            f"{self.by_reason.total()} of {self.num_records} records are broken ({reasons})"
            f"{remark}. The first:\n{places}"
        )


@dataclass(frozen=True, slots=True)
class Example:
    """A document that was dropped.

    Attributes:
        id: Its id in the source.
        detail: What was measured, or the document that it is a copy of.
        excerpt: Its beginning.
    """

    id: str
    detail: str
    excerpt: str


@dataclass
class Drops:
    """Dropped documents and their bytes, by reason, with the first documents as examples."""

    documents: Counter[str] = field(default_factory=Counter[str])
    bytes: Counter[str] = field(default_factory=Counter[str])
    examples: dict[str, list[Example]] = field(default_factory=lambda: defaultdict(list))

    def add(self, reason: str, num_bytes: int, example: Example) -> None:
        """Count one document."""
        self.documents[reason] += 1
        self.bytes[reason] += num_bytes
        if len(self.examples[reason]) < MAX_EXAMPLES:
            self.examples[reason].append(example)

    def merge(self, other: Drops) -> None:
        """Add the counts of another."""
        self.documents += other.documents
        self.bytes += other.bytes
        for reason, examples in other.examples.items():
            self.examples[reason] = [*self.examples[reason], *examples][:MAX_EXAMPLES]

    def to_json(self) -> dict[str, Any]:
        """Return plain data by reason, the most frequent first."""
        return {
            reason: {
                "documents": count,
                "bytes": self.bytes[reason],
                "examples": [asdict(example) for example in self.examples[reason]],
            }
            for reason, count in self.documents.most_common()
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Drops:
        """Read what ``to_json`` wrote."""
        drops = cls()
        for reason, found in data.items():
            drops.documents[reason] = found["documents"]
            drops.bytes[reason] = found["bytes"]
            drops.examples[reason] = [Example(**example) for example in found["examples"]]
        return drops

    @classmethod
    def of_stream(cls, counts: Mapping[str, Any]) -> Drops:
        """Sum those of a stream's sources, from its counts in the manifest of the corpus step."""
        drops = cls()
        for source in counts["sources"].values():
            drops.merge(cls.from_json(source["dropped"]))
        return drops


@dataclass
class PartCounts:
    """What one part read and kept.

    Attributes:
        broken: Records that could not be read as documents.
        drops: Documents that filters dropped; the reason is ``filter: reason``.
        read_documents: Documents read, and their bytes.
        documents: Documents kept, with their bytes and tokens; copies are still among them.
    """

    broken: BrokenCount
    drops: Drops = field(default_factory=Drops)
    read_documents: int = 0
    read_bytes: int = 0
    documents: int = 0
    bytes: int = 0
    tokens: int = 0

    def merge(self, other: PartCounts) -> None:
        """Add another part of the same source and stream."""
        self.broken.add(other.broken)
        self.drops.merge(other.drops)
        for name in ("read_documents", "read_bytes", "documents", "bytes", "tokens"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return vars(self) | {"broken": vars(self.broken), "drops": self.drops.to_json()}

    @classmethod
    def read(cls, folder: Path) -> PartCounts:
        """Read ``counts.json`` of a finished part, which holds what ``to_json`` returned.

        Raises:
            ArtifactError: when it is missing or damaged.
        """
        data = read_json_object(folder / "counts.json", _WrittenCounts)
        broken = BrokenCount(**data["broken"])
        broken.by_reason = Counter(broken.by_reason)
        others: dict[str, Any] = {k: v for k, v in data.items() if k not in ("broken", "drops")}
        return cls(broken=broken, drops=Drops.from_json(data["drops"]), **others)


@dataclass(frozen=True)
class _WrittenDrops:
    documents: int
    bytes: int
    examples: list[Example]


@dataclass(frozen=True)
class _WrittenCounts:
    """What ``PartCounts.to_json`` returns."""

    broken: BrokenCount
    drops: dict[str, _WrittenDrops]
    read_documents: int
    read_bytes: int
    documents: int
    bytes: int
    tokens: int


def excerpt(text: str) -> str:
    """Return the beginning of a text, on one line."""
    return " ".join(text[: 2 * _EXCERPT].split())[:_EXCERPT]
