"""Text that is scored beside what is held out of the corpus, such as text unlike the replay."""

from __future__ import annotations

from langraft.core.document import Document
from langraft.core.errors import CorpusError
from langraft.core.settings.evaluation import FurtherText
from langraft.core.settings.recipe import Recipe
from langraft.corpus.sources.files import Files


def further_texts(recipe: Recipe) -> dict[str, dict[str, list[str]]]:
    """Return the documents of a recipe's ``evaluate.texts`` by name, then by language.

    Raises:
        CorpusError: when a language of one has no document, or a record is broken: what is scored
            must be the same in every run.
    """
    found: dict[str, dict[str, list[str]]] = {}
    for text in recipe.evaluate.texts:
        found[text.name] = {code: read_further_text(text, code) for code in text.languages}
    return found


def read_further_text(text: FurtherText, language: str) -> list[str]:
    """Return the documents of one of ``evaluate.texts`` in one language.

    Raises:
        CorpusError: when there is none, or a record is broken.
    """
    try:
        return _read(text, language)
    except CorpusError as error:
        raise CorpusError(f"evaluate.texts, {text.name}: {error}") from error


def _read(text: FurtherText, language: str) -> list[str]:
    source = Files(path=text.path, languages=(language,), text_key=text.text_key)
    source.check(language)
    documents: list[str] = []
    num_bytes = 0
    for found in source.read(language):
        if not isinstance(found, Document):
            raise CorpusError(
                f"{found.path}:{found.line}: {found.reason}. Mend the record, or take it out."
            )
        documents.append(found.text)
        num_bytes += len(found.text.encode())
        if num_bytes >= text.bytes:
            break
    if not documents:
        raise CorpusError(
            f"{text.path} has no document in {language!r}. Give text, or take the language out of "
            "its `languages`."
        )
    return documents
