"""What came in, what left and why: kept for every part, summed for every stream."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from langraft.core.document import BrokenRecord
from langraft.core.errors import CorpusError

_SHOWN = 5  # broken records shown in full
EXAMPLES = 20  # dropped documents of each reason that a part keeps
_EXCERPT = 300  # characters of each
_Read = TypeVar("_Read")


@dataclass
class BrokenCount:
    """Broken records of one source and stream, by reason, against what was read."""

    max_share: float
    num_records: int = 0
    by_reason: Counter[str] = field(default_factory=Counter[str])
    places: list[str] = field(default_factory=list[str])

    def good(self, records: Iterable[_Read | BrokenRecord]) -> Iterator[_Read]:
        """Pass on what could be read and count the rest.

        Raises:
            CorpusError: when far more than the allowed share is broken; ``check`` judges the rest.
        """
        for record in records:
            self.num_records += 1
            if not isinstance(record, BrokenRecord):
                yield record
                continue
            self.by_reason[record.reason] += 1
            if len(self.places) < _SHOWN:
                self.places.append(
                    f"{record.path}{f':{record.line}' if record.line else ''}: {record.reason}"
                    f"{f': {record.excerpt}' if record.excerpt else ''}"
                )
            if self.num_records >= 10_000:
                self.check()

    def add(self, other: BrokenCount) -> None:
        """Add what another part of the same source and stream had."""
        self.num_records += other.num_records
        self.by_reason += other.by_reason
        self.places = [*self.places, *other.places][:_SHOWN]

    def check(self) -> None:
        """Raise when the limit is passed, with the reasons and the first broken records."""
        broken = self.by_reason.total()
        if broken <= self.max_share * self.num_records:
            return
        reasons = ", ".join(f"{count} x {reason}" for reason, count in self.by_reason.most_common())
        places = "\n".join(f"  {place}" for place in self.places)
        raise CorpusError(
            f"{broken} of {self.num_records} records are broken ({reasons}); allowed is a share of "
            f"{self.max_share:g} (max_broken of the source). The first:\n{places}\n"
            "Mend the files, or raise max_broken to go on without these records."
        )


@dataclass(frozen=True, slots=True)
class Example:
    """A document that was dropped.

    Attributes:
        id: The source's name for it.
        detail: What was measured, or of which document it is a copy.
        excerpt: How it begins.
    """

    id: str
    detail: str
    excerpt: str


@dataclass
class Drops:
    """Documents and bytes that left, by reason, with the first of each shown."""

    documents: Counter[str] = field(default_factory=Counter[str])
    bytes: Counter[str] = field(default_factory=Counter[str])
    examples: dict[str, list[Example]] = field(default_factory=lambda: defaultdict(list))

    def add(self, reason: str, num_bytes: int, example: Example) -> None:
        """Count one document."""
        self.documents[reason] += 1
        self.bytes[reason] += num_bytes
        if len(self.examples[reason]) < EXAMPLES:
            self.examples[reason].append(example)

    def merge(self, other: Drops) -> None:
        """Add another's."""
        self.documents += other.documents
        self.bytes += other.bytes
        for reason, examples in other.examples.items():
            self.examples[reason] = [*self.examples[reason], *examples][:EXAMPLES]

    def to_json(self) -> dict[str, Any]:
        """Return plain data by reason, the commonest first."""
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


@dataclass
class PartCounts:
    """What one part read and kept.

    Attributes:
        broken: Records that were no documents.
        drops: What the filters dropped; the reason is ``filter: reason``.
        read_documents: Documents that came in, and their bytes.
        documents: Those that stayed, with their bytes and tokens; copies are still among them.
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
        self.read_documents += other.read_documents
        self.read_bytes += other.read_bytes
        self.documents += other.documents
        self.bytes += other.bytes
        self.tokens += other.tokens

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return vars(self) | {"broken": vars(self.broken), "drops": self.drops.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PartCounts:
        """Read what ``to_json`` wrote."""
        broken = BrokenCount(**data["broken"])
        broken.by_reason = Counter(broken.by_reason)
        others: dict[str, Any] = {k: v for k, v in data.items() if k not in ("broken", "drops")}
        return cls(broken=broken, drops=Drops.from_json(data["drops"]), **others)


def excerpt(text: str) -> str:
    """Return how a text begins, on one line."""
    return " ".join(text[: 2 * _EXCERPT].split())[:_EXCERPT]
