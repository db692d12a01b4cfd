"""Mixtures against the text of a recipe: what their keys stand for, and which are mistakes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from langraft.core.corpus import Corpus
from langraft.core.errors import did_you_mean
from langraft.core.instruct import Instruct
from langraft.core.presets import PRESETS, expand_presets
from langraft.core.stage import Stage
from langraft.core.streams import ANY_LANGUAGE, languages_of


@dataclass(frozen=True, slots=True)
class Text:
    """What a recipe has to train on.

    Attributes:
        languages: All that it declares.
        transfer: Those of them that no stage may train on.
        corpus: Its sources.
        instruct: Its conversations, for stages of kind chat.
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
        """Return the streams that ``*/wiki`` stands for, those of transfer languages left out.

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

    def expand(self, stage: Stage, place: str) -> tuple[Stage, list[str]]:
        """Return a stage with streams in place of presets, and which presets cannot be had."""
        if stage.kind == "chat":
            return stage, []
        usable = [key for key in self.keys if self.members(key) and not self._transfers_of([key])]
        mixtures = dict(stage.mixtures)
        mistakes: list[str] = []
        for inner, mixture in mixtures.items():
            try:
                mixtures[inner] = expand_presets(mixture, usable)
            except ValueError as error:
                mistakes.append(f"{place}{inner}.mixture: {error}")
        return stage.with_mixtures(mixtures), mistakes

    def mistakes_in(self, place: str, stages: Sequence[Stage]) -> list[str]:
        """Return what is wrong with the mixtures of some stages."""
        mistakes: list[str] = []
        for number, stage in enumerate(stages):
            for inner, mixture in stage.mixtures.items():
                here = f"{place}[{number}]{inner}"
                is_chat = stage.kind == "chat"
                unknown = self._unknown_conversations if is_chat else self.unknown_streams
                mistakes += unknown(here, mixture)
                mistakes += [
                    f"{here}.mixture: {code!r} is a transfer language, which no stage may train "
                    "on; make it new or leave it out"
                    for code in self._transfers_of(mixture)
                ]
        return mistakes

    def unknown_streams(self, place: str, mixture: Mapping[str, float]) -> list[str]:
        """Refuse languages that are not declared, then streams that no source has."""
        named = [key for key in mixture if key not in PRESETS]  # what is left of those is refused
        mistakes = self.unknown_languages(place, _codes(named))
        if mistakes:
            return mistakes
        known = self.keys
        unknown = [
            f"{place}.mixture: no source has text for {key!r}; there are: {', '.join(known)}."
            f"{did_you_mean(key, known)}"
            for key in named
            if key not in known
        ]
        return unknown or [
            f"{place}.mixture: {key!r} has text in transfer languages alone, which no stage may "
            "train on"
            for key in named
            if not self.members(key)
        ]

    def _unknown_conversations(self, place: str, mixture: Mapping[str, float]) -> list[str]:
        """Refuse, in a stage of kind chat, what has no conversations."""
        if self.instruct is None:
            return [
                f"{place}.kind: a stage of kind chat needs conversations; add "
                "`instruct: [{path: chats/{language}.jsonl, languages: [...]}]`"
            ]
        known = self.instruct.languages
        return self.unknown_languages(place, _codes(mixture)) or [
            f"{place}.mixture: `instruct` has no conversations for {key!r}; there are: "
            f"{', '.join(known)}.{did_you_mean(key, known)}"
            for key in mixture
            if key not in known
        ]

    def unknown_languages(self, place: str, codes: Iterable[str]) -> list[str]:
        """Refuse languages that are not declared."""
        return [
            f"{place}.mixture: given {code!r}; declared under `languages`: "
            f"{', '.join(self.languages)}.{did_you_mean(code, self.languages)}"
            for code in codes
            if code not in self.languages
        ]

    def _transfers_of(self, streams: Iterable[str]) -> list[str]:
        return [code for code in _codes(streams) if code in self.transfer]


def _codes(streams: Iterable[str]) -> dict[str, None]:
    return dict.fromkeys(code for stream in streams for code in languages_of(stream))
