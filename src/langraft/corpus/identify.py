"""Which language a text is in, offline.

lingua knows 75 languages and needs no file; a fastText model such as GlotLID knows two thousand
and needs its file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from babel.core import get_global

from langraft.core.errors import CorpusError, MissingExtraError

Identifier = Callable[[list[str]], list[str]]
"""From texts to language codes, one each; "" where nothing can be said."""


def make_identifier(languages: Sequence[str], model: Path | str | None = None) -> Identifier:
    """Return an identifier that chooses among some languages.

    Args:
        languages: ISO 639 codes to choose among.
        model: File of a fastText model with labels such as ``__label__ell_Grek`` or
            ``__label__el``; without one lingua is used.

    Raises:
        MissingExtraError: when the package it needs is not installed.
        CorpusError: when a language is not known, or the file is missing or no such model.
    """
    return _lingua(languages) if model is None else _fasttext(languages, Path(model))


def _lingua(languages: Sequence[str]) -> Identifier:
    try:
        from lingua import Language, LanguageDetectorBuilder
    except ImportError:
        raise MissingExtraError(
            "lingua-language-detector", "data", "Identifying languages"
        ) from None
    known: dict[str, Any] = {lang.iso_code_639_1.name.lower(): lang for lang in Language.all()}
    code_of = {known[_short(code)]: code for code in languages if _short(code) in known}
    _refuse_unknown(languages, set(code_of.values()), "lingua")
    if len(code_of) < 2:
        only = next(iter(languages))
        return lambda texts: [only] * len(texts)
    detector = LanguageDetectorBuilder.from_languages(*code_of).build()

    def identify(texts: list[str]) -> list[str]:
        found: list[Any] = detector.detect_languages_in_parallel_of(texts)
        return [code_of.get(language, "") for language in found]

    return identify


def _fasttext(languages: Sequence[str], path: Path) -> Identifier:
    try:
        import fasttext  # pyright: ignore[reportMissingTypeStubs]
    except ImportError:
        raise MissingExtraError(
            "fasttext-numpy2-wheel", "data", "A fastText language identifier"
        ) from None
    if not path.is_file():
        raise CorpusError(
            f"There is no file {path}. Give a fastText identifier, such as GlotLID's model.bin."
        )
    try:
        model: Any = fasttext.load_model(str(path))
    except ValueError as error:
        raise CorpusError(f"{path} is no fastText model: {error}") from None
    by_label = {label: _short(label.removeprefix("__label__")) for label in model.get_labels()}
    code_of = {_short(code): code for code in languages}
    _refuse_unknown(languages, {code_of[c] for c in by_label.values() if c in code_of}, str(path))

    def identify(texts: list[str]) -> list[str]:
        if not texts:
            return []
        labels, _ = model.predict([text.replace("\n", " ") for text in texts], k=-1)
        return [
            next((code_of[by_label[x]] for x in ranked if by_label[x] in code_of), "")
            for ranked in labels
        ]

    return identify


def _short(code: str) -> str:
    """Return a label's language alone, in its shortest ISO 639 code: ell_Grek is el."""
    language = code.replace("_", "-").partition("-")[0].lower()
    alias: Any = get_global("language_aliases").get(language)
    short = alias if isinstance(alias, str) else language
    return "nb" if short == "no" else short


def _refuse_unknown(languages: Sequence[str], known: set[str], origin: str) -> None:
    unknown = [code for code in languages if code not in known]
    if unknown:
        raise CorpusError(
            f"{origin} cannot identify {', '.join(unknown)}. Give a fastText model that can, such "
            "as GlotLID's model.bin."
        )
