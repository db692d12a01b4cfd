"""Expand and check the mixtures of a recipe against the text that it has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from langraft.core.errors import did_you_mean
from langraft.core.settings.conversations import Instruct
from langraft.core.settings.corpus import Corpus
from langraft.core.settings.presets import PRESETS, expand_presets
from langraft.core.settings.stage import Stage
from langraft.core.streams import ANY_LANGUAGE, languages_of


@dataclass(frozen=True, slots=True)
class AvailableText:
    """The text that a recipe can train on; expands and checks mixtures against it.

    Attributes:
        languages: All languages that the recipe declares.
        transfer: Those of them that no stage may train on.
        corpus: The sources.
        instruct: The conversations, for stages of kind chat.
    """

    languages: tuple[str, ...]
    transfer: tuple[str, ...]
    corpus: Corpus
    instruct: Instruct | None = None

    @property
    def keys(self) -> list[str]:
        """Every key that a mixture may have: streams, and sources in all languages."""
        return [
            *self.corpus.streams,
            *(f"{ANY_LANGUAGE}/{label}" for label in self.corpus.labels),
        ]

    def members(self, key: str) -> tuple[str, ...]:
        """Return the streams that ``*/wiki`` stands for, without those of transfer languages.

        Any other stream stands for itself.
        """
        any_language, _, label = key.partition("/")
        if any_language != ANY_LANGUAGE:
            return (key,)
        return tuple(
            stream
            for stream in self.corpus.streams_of_sources
            if stream.endswith(f"/{label}") and not self._transfers_of([stream])
        )

    def expand(self, stage: Stage, path: str) -> tuple[Stage, list[str]]:
        """Return a stage with presets replaced by their streams, and the mistakes in presets."""
        if stage.kind == "chat":
            return stage, []
        usable = [key for key in self.keys if self.members(key) and not self._transfers_of([key])]
        mixtures = dict(stage.mixtures)
        mistakes: list[str] = []
        for inner, mixture in mixtures.items():
            try:
                mixtures[inner] = expand_presets(mixture, usable)
            except ValueError as error:
                mistakes.append(f"{path}{inner}.mixture: {error}")
        return stage.with_mixtures(mixtures), mistakes

    def mistakes_in(self, path: str, stages: Sequence[Stage]) -> list[str]:
        """Return the mistakes in the mixtures of stages; ``path`` is their key in the recipe."""
        mistakes: list[str] = []
        for number, stage in enumerate(stages):
            find = self._unknown_conversations if stage.kind == "chat" else self.unknown_streams
            for inner, mixture in stage.mixtures.items():
                here = f"{path}[{number}]{inner}"
                mistakes += find(here, mixture)
                mistakes += [
                    f"{here}.mixture: {code!r} is a transfer language, which no stage may train "
                    "on; make it new or leave it out"
                    for code in self._transfers_of(mixture)
                ]
        return mistakes

    def unknown_streams(self, path: str, mixture: Mapping[str, float]) -> list[str]:
        """Return mistakes for undeclared languages, else for streams without a source."""
        named = [key for key in mixture if key not in PRESETS]  # unusable presets: see expand
        mistakes = self.undeclared(f"{path}.mixture", _codes(named))
        if mistakes:
            return mistakes
        known = self.keys
        unknown = [
            f"{path}.mixture: no source has text for {key!r}; there are: {', '.join(known)}."
            f"{did_you_mean(key, known)}"
            for key in named
            if key not in known
        ]
        return unknown or [
            f"{path}.mixture: {key!r} has only text in transfer languages, which no stage may "
            "train on"
            for key in named
            if not self.members(key)
        ]

    def _unknown_conversations(self, path: str, mixture: Mapping[str, float]) -> list[str]:
        """Return mistakes in the mixture of a stage of kind chat."""
        if self.instruct is None:
            return [
                f"{path}.kind: a stage of kind chat needs conversations; add "
                "`instruct: [{path: chats/{language}.jsonl, languages: [...]}]`"
            ]
        known = self.instruct.languages
        return self.undeclared(f"{path}.mixture", _codes(mixture)) or [
            f"{path}.mixture: `instruct` has no conversations for {key!r}; there are: "
            f"{', '.join(known)}.{did_you_mean(key, known)}"
            for key in mixture
            if key not in known
        ]

    def undeclared(self, path: str, codes: Iterable[str]) -> list[str]:
        """Return mistakes for languages that the recipe does not declare."""
        return [
            f"{path}: given {code!r}; declared under `languages`: "
            f"{', '.join(self.languages)}.{did_you_mean(code, self.languages)}"
            for code in codes
            if code not in self.languages
        ]

    def _transfers_of(self, streams: Iterable[str]) -> list[str]:
        return [code for code in _codes(streams) if code in self.transfer]


def _codes(streams: Iterable[str]) -> dict[str, None]:
    return dict.fromkeys(code for stream in streams for code in languages_of(stream))
