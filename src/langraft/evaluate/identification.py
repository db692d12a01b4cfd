"""Scores behind a language identifier that sends original languages to the base.

A guarded graft answers as the base where the prompt is identified as original, and as itself
elsewhere (graft/guard.py; bit for bit, so it need not be run again). ``switch`` is the base and a
second, fully trained model behind the same identifier.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from langraft.core.files import read_json, write_json
from langraft.core.settings.languages import Languages
from langraft.corpus.identify import Identifier
from langraft.evaluate.evaluation import Evaluation
from langraft.evaluate.heldout import HeldoutScore, bits_per_byte

PROMPT_CHARACTERS = (20, 50, 200)
_FILE = "identification.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identification:
    """Languages of documents, identified from their first characters, as those of prompts are.

    Attributes:
        is_base: By language, for each held-out document whether the base answers: whether its
            first 200 characters are identified as anything but a new language.
        is_base_mixed: The same for mixed documents, by their new language.
        is_base_texts: The same for further texts, by name, then by language.
        errors: By original or new language, then by prompt length in characters: share of
            documents sent to the wrong model.
    """

    is_base: dict[str, list[bool]]
    is_base_mixed: dict[str, list[bool]]
    errors: dict[str, dict[str, float]]
    is_base_texts: dict[str, dict[str, list[bool]]] = field(
        default_factory=dict[str, dict[str, list[bool]]]
    )

    def write(self, folder: Path) -> None:
        """Write ``identification.json``."""
        write_json(folder / _FILE, asdict(self))

    @classmethod
    def read(cls, folder: Path) -> Identification:
        """Read ``identification.json``.

        Raises:
            ArtifactError: when it is missing or damaged.
        """
        return read_json(folder / _FILE, cls)


def identify_documents(
    texts: Mapping[str, Sequence[str]],
    mixed: Mapping[str, Sequence[str]],
    further: Mapping[str, Mapping[str, Sequence[str]]],
    languages: Languages,
    identify: Identifier,
) -> Identification:
    """Identify the language of every document from its first characters.

    Args:
        texts: Held-out documents by language.
        mixed: Mixed documents by their new language.
        further: Further texts by name, then by language.
        languages: Says which are new; the base should answer in all others.
        identify: From ``make_identifier``.
    """

    def is_base(documents: Sequence[str], num_characters: int) -> list[bool]:
        prompts = [document[:num_characters] for document in documents]
        return [code not in languages.new for code in identify(prompts)]

    longest = max(PROMPT_CHARACTERS)
    errors: dict[str, dict[str, float]] = {}
    for code in (*languages.original, *languages.new):
        errors[code] = {}
        for num_characters in PROMPT_CHARACTERS:
            sent = is_base(texts[code], num_characters)
            wrong = sum(is_of_base == (code in languages.new) for is_of_base in sent)
            errors[code][str(num_characters)] = wrong / len(sent)
    return Identification(
        is_base={code: is_base(documents, longest) for code, documents in texts.items()},
        is_base_mixed={code: is_base(documents, longest) for code, documents in mixed.items()},
        is_base_texts={
            name: {code: is_base(documents, longest) for code, documents in by_language.items()}
            for name, by_language in further.items()
        },
        errors=errors,
    )


def behind_identification(
    before: Evaluation, after: Evaluation, found: Identification
) -> Evaluation:
    """Return the scores with every document that is sent to the base scored by the base.

    Benchmarks and conversations are left out: their languages were not identified.
    """
    return replace(
        after,
        heldout=_choose(before.heldout, after.heldout, found.is_base),
        mixed=_choose(before.mixed, after.mixed, found.is_base_mixed),
        texts={
            name: _choose(before.texts[name], scores, found.is_base_texts[name])
            for name, scores in after.texts.items()
        },
        answers={},
        tasks={},
        not_run={},
    )


def _choose(
    before: Mapping[str, HeldoutScore],
    after: Mapping[str, HeldoutScore],
    is_base: Mapping[str, Sequence[bool]],
) -> dict[str, HeldoutScore]:
    chosen: dict[str, HeldoutScore] = {}
    for code, score in after.items():
        nats = [
            of_base if is_of_base else of_after
            for of_base, of_after, is_of_base in zip(
                before[code].document_nats, score.document_nats, is_base[code], strict=True
            )
        ]
        chosen[code] = replace(
            score,
            document_nats=nats,
            bits_per_byte=bits_per_byte(nats, score.document_bytes),
        )
    return chosen
