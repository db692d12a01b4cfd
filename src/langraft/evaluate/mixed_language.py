"""Documents that change language with each sentence, built from aligned text.

They test the limits of choosing a model by a document's language: these have two.
"""

from __future__ import annotations

from langraft.core.document import Document
from langraft.core.errors import CorpusError
from langraft.corpus.sources.files import Files

_SENTENCES = 8  # of a document
_DOCUMENTS = 100


def read_mixed(path: str, original: str, new: str) -> list[str]:
    """Return documents that alternate between an original and a new language.

    Args:
        path: JSONL or parquet of aligned sentences with a key for each language; ``{language}``
            stands for the new one.
        original: Key and language of the even sentences, counted from 0.
        new: Key and language of the odd ones.

    Raises:
        CorpusError: when there is no such file, or it has too few pairs for one document.
    """
    sides = [
        Files(path=path.replace("{language}", new), languages=(code,), text_key=code).read(code)
        for code in (original, new)
    ]
    documents: list[str] = []
    sentences: list[str] = []
    for pair in zip(*sides, strict=False):
        side = pair[len(sentences) % 2]
        if not all(isinstance(found, Document) for found in pair) or not isinstance(side, Document):
            continue  # one sentence of the pair is missing
        sentences.append(side.text.strip())
        if len(sentences) == _SENTENCES:
            documents.append("\n".join(sentences))
            sentences = []
            if len(documents) == _DOCUMENTS:
                break
    if not documents:
        raise CorpusError(
            f"evaluate.mixed: {path} has fewer than {_SENTENCES} pairs with both {original!r} and "
            f"{new!r}. Give JSONL or parquet with a key for each language."
        )
    return documents
