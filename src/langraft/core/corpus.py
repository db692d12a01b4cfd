"""What a recipe says of its text: where it comes from, what is dropped, who does the work."""

from __future__ import annotations

from abc import ABC
from typing import Any

from pydantic import Field, SerializeAsAny, model_validator

from langraft.core.language import LanguageCode
from langraft.core.settings import Count, Settings, Share
from langraft.core.streams import Label


class SourceSettings(Settings, ABC):
    """What a recipe must know of a source; the sources are files of langraft/corpus/sources."""

    source: str
    label: Label | None = Field(
        default=None,
        description="Names the source in mixtures (el/wiki) and reports; left out: its kind.",
    )
    languages: tuple[LanguageCode, ...] = Field(
        min_length=1, description="Languages to read from this source."
    )
    tokens: Count | None = Field(
        default=None,
        gt=0,
        description="Tokens a language (or pair) to take; reading stops when they are reached. "
        "Left out: everything.",
    )
    max_broken: Share = Field(
        default=0.001, description="Share of broken records beyond which the run stops."
    )

    @property
    def streams(self) -> tuple[str, ...]:
        """What it has text of: its languages, or pairs of them."""
        return self.languages


class FilterSettings(Settings, ABC):
    """What a recipe must know of a filter; the filters are files of langraft/corpus/filters."""

    name: str


class EngineSettings(Settings, ABC):
    """Who does the corpus work; the engines are files of langraft/corpus/engines."""

    name: str


class Deduplication(Settings):
    """Which copies are dropped, within a language and across all its sources."""

    similarity: float | None = Field(
        default=0.8,
        gt=0,
        le=1,
        description="Estimated Jaccard similarity of shingles from which a document is a copy of "
        "an earlier one (MinHash-LSH); null: only exact copies.",
    )
    shingle_words: int = Field(
        default=5,
        ge=1,
        description="Words of a shingle; of scripts without spaces twice as many characters.",
    )
    bands: int = Field(default=14, ge=1, le=64, description="LSH bands; one in common suffices.")
    rows: int = Field(default=8, ge=1, le=64, description="MinHashes of a band.")


class Corpus(Settings):
    """Text of a recipe. A bare list stands for its ``sources``."""

    sources: tuple[SerializeAsAny[SourceSettings], ...] = Field(min_length=1)
    filters: tuple[SerializeAsAny[FilterSettings], ...] = ()
    deduplicate: Deduplication | None = Field(
        default=None, description="Drop exact copies and near-duplicates; {} for the defaults."
    )
    engine: SerializeAsAny[EngineSettings]

    @model_validator(mode="before")
    @classmethod
    def _allow_short_forms(cls, data: Any) -> Any:
        """Read a list of sources, and bare names of filters and of the engine."""
        data = {"sources": data} if isinstance(data, list | tuple) else data
        if not isinstance(data, dict):
            return data
        data = {"engine": "local"} | data
        if isinstance(data["engine"], str):
            data["engine"] = {"name": data["engine"]}
        if isinstance(data.get("filters"), list | tuple):
            data["filters"] = [{"name": f} if isinstance(f, str) else f for f in data["filters"]]
        return data

    @property
    def labels(self) -> tuple[str, ...]:
        """One label a source, each once: as given, else its kind, numbered from the second on."""
        given = [source.label or source.source for source in self.sources]
        times = [given[: number + 1].count(label) for number, label in enumerate(given)]
        return tuple(
            label if count == 1 else f"{label}-{count}"
            for label, count in zip(given, times, strict=True)
        )

    @property
    def streams(self) -> tuple[str, ...]:
        """Every stream that has text: languages and pairs, and those of single sources."""
        found = dict.fromkeys(stream for source in self.sources for stream in source.streams)
        return (*found, *self.streams_of_sources)

    @property
    def streams_of_sources(self) -> tuple[str, ...]:
        """Streams of single sources, such as el/wiki, in order of the sources."""
        return tuple(
            f"{stream}/{label}"
            for source, label in zip(self.sources, self.labels, strict=True)
            for stream in source.streams
        )
