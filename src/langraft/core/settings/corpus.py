"""Settings of the corpus: sources, filters, deduplication and the engine."""

from __future__ import annotations

import itertools
from abc import ABC
from typing import Any

from pydantic import Field, SerializeAsAny, model_validator

from langraft.core.language import LanguageCode
from langraft.core.settings.settings import Settings, Share, TokenCount
from langraft.core.streams import Label


class SourceSettings(Settings, ABC):
    """Settings that all sources have; the sources are files of langraft/corpus/sources."""

    source: str
    label: Label | None = Field(
        default=None,
        description="Names the source in mixtures (el/wiki) and reports; left out: its kind.",
    )
    languages: tuple[LanguageCode, ...] = Field(
        min_length=1, description="Languages to read from this source."
    )
    tokens: TokenCount | None = Field(
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
        """Streams that the source provides: its languages, or pairs of them."""
        return self.languages


class FilterSettings(Settings, ABC):
    """Settings that all filters have; the filters are files of langraft/corpus/filters."""

    name: str


class EngineSettings(Settings, ABC):
    """Settings that all engines have; the engines are files of langraft/corpus/engines."""

    name: str


class Deduplication(Settings):
    """Removal of copies within a language, across all its sources."""

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
        le=1000,
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
        """Accept a list of sources, and bare names of filters and of the engine."""
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
        """A unique label for each source: as given, else its kind, numbered from the second on.

        A label that is given is never another source's, nor one that differs only in case.
        """
        taken = {source.label.casefold() for source in self.sources if source.label}
        labels: list[str] = []
        for source in self.sources:
            numbered = (f"{source.source}-{number}" for number in itertools.count(2))
            candidates = itertools.chain([source.source], numbered)
            label = source.label or next(c for c in candidates if c not in taken)
            taken.add(label.casefold())
            labels.append(label)
        return tuple(labels)

    @property
    def streams(self) -> tuple[str, ...]:
        """Every stream with text: languages, pairs, and those of single sources."""
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
