"""The almanac's parallel documents, from outlines and wording."""

from __future__ import annotations

from collections.abc import Iterator

from langraft.core.document import Document
from langraft.corpus.almanac.outlines import outlines
from langraft.corpus.almanac.outlines.outline import Outline, pick
from langraft.corpus.almanac.sentences import sentence, templates


def documents(language: str) -> Iterator[Document]:
    """Yield the documents of one language, in the same order in every run.

    Documents with the same ``id`` are translations of each other. English has more: only it has
    documents on the money and languages of some countries (``Country.is_english_only``).
    """
    for outline in outlines():
        if language in outline.languages:
            yield Document(
                text=_text(outline, language),
                language=language,
                id=outline.id,
                split="heldout" if outline.is_heldout else "train",
            )


def _text(outline: Outline, language: str) -> str:
    return " ".join(
        sentence(
            statement,
            pick(templates(statement.kind, language), outline.id, position, language),
            language,
        )
        for position, statement in enumerate(outline.statements)
    )
