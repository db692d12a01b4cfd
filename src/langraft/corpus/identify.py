"""Which language a text is in, offline.

lingua knows 75 languages and needs no file; a fastText model such as GlotLID knows two thousand
and needs its file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from babel.core import get_global

from langraft.core.errors import CorpusError, MissingExtraError

Identifier = Callable[[list[str]], list[str]]
"""From texts to language codes, one each; "" where nothing can be said."""


class Recognised(NamedTuple):
    """What an identifier makes of a text that is said to be in some language.

    Attributes:
        confidence: In that language, 0..1.
        likeliest: The language it would choose, "" where nothing can be said.
    """

    confidence: float
    likeliest: str


def make_recogniser(
    language: str, model: Path | str | None = None
) -> Callable[[list[str]], list[Recognised]]:
    """Return a function that says how likely texts are in a language, among all it knows.

    Args:
        language: ISO 639 code.
        model: As for ``make_identifier``. lingua chooses among its 75 languages here, in its fast
            mode: 100 MB of memory, where the exact one takes a gigabyte.

    Raises:
        MissingExtraError: when the package it needs is not installed.
        CorpusError: when the language is not known, or the file is missing or no such model.
    """
    wanted = _short(language)
    if model is not None:
        found, code_of_label = _load_fasttext(Path(model))
        is_known = wanted in code_of_label.values()
        _refuse_unknown([language], {language} if is_known else set(), str(model))

        def by_fasttext(texts: list[str]) -> list[Recognised]:
            if not texts:
                return []
            labels, shares = found.predict([text.replace("\n", " ") for text in texts], k=5)
            return [
                Recognised(
                    sum(
                        float(s) for x, s in zip(ls, ps, strict=True) if code_of_label[x] == wanted
                    ),
                    code_of_label[ls[0]] if len(ls) else "",
                )
                for ls, ps in zip(labels, shares, strict=True)
            ]

        return by_fasttext
    known, builder = _load_lingua()
    _refuse_unknown([language], {language} if wanted in known else set(), "lingua")
    detector = builder.from_all_languages().with_low_accuracy_mode().build()
    code_of = {value: code for code, value in known.items()}

    def by_lingua(texts: list[str]) -> list[Recognised]:
        found: list[list[Any]] = detector.compute_language_confidence_values_in_parallel(texts)
        return [
            Recognised(
                next((v.value for v in values if code_of[v.language] == wanted), 0.0),
                code_of[values[0].language] if values and values[0].value > 0 else "",
            )
            for values in found
        ]

    return by_lingua


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
    known, builder = _load_lingua()
    code_of = {known[_short(code)]: code for code in languages if _short(code) in known}
    _refuse_unknown(languages, set(code_of.values()), "lingua")
    if len(code_of) < 2:
        only = next(iter(languages))
        return lambda texts: [only] * len(texts)
    detector = builder.from_languages(*code_of).build()

    def identify(texts: list[str]) -> list[str]:
        found: list[Any] = detector.detect_languages_in_parallel_of(texts)
        return [code_of.get(language, "") for language in found]

    return identify


def _load_lingua() -> tuple[dict[str, Any], Any]:
    """Return lingua's languages by ISO 639-1 code and its builder of detectors."""
    try:
        from lingua import Language, LanguageDetectorBuilder
    except ImportError:
        raise MissingExtraError(
            "lingua-language-detector", "data", "Identifying languages"
        ) from None
    known = {lang.iso_code_639_1.name.lower(): lang for lang in Language.all()}
    return known, LanguageDetectorBuilder


def _load_fasttext(path: Path) -> tuple[Any, dict[str, str]]:
    """Return a fastText identifier and, by label, the language it stands for."""
    model = load_fasttext(path, "Give a fastText identifier, such as GlotLID's model.bin.")
    return model, {x: _short(x.removeprefix("__label__")) for x in model.get_labels()}


def load_fasttext(path: Path | str, advice: str) -> Any:
    """Load a fastText model.

    Raises:
        MissingExtraError: when fastText is not installed.
        CorpusError: with the advice when there is no such file; when it is no model.
    """
    try:
        import fasttext  # pyright: ignore[reportMissingTypeStubs]
    except ImportError:
        raise MissingExtraError("fasttext-numpy2-wheel", "data", "A fastText model") from None
    if not Path(path).is_file():
        raise CorpusError(f"There is no file {path}. {advice}")
    try:
        return fasttext.load_model(str(path))
    except ValueError as error:
        raise CorpusError(f"{path} is no fastText model: {error}") from None


def _fasttext(languages: Sequence[str], path: Path) -> Identifier:
    model, by_label = _load_fasttext(path)
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
