"""Language identification, offline.

lingua knows 75 languages and needs no file; a fastText model such as GlotLID knows two thousand
and needs its file.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from langraft.core.errors import CorpusError
from langraft.core.language import shortest_code
from langraft.corpus.reading.optional_packages import import_extra

Identifier = Callable[[list[str]], list[str]]
"""From texts to language codes, one each; "" where the language cannot be identified."""


class LanguageScore(NamedTuple):
    """How likely a text is in an expected language.

    Attributes:
        confidence: Probability of the expected language, 0..1.
        likeliest: The most probable language, "" where none can be identified.
    """

    confidence: float
    likeliest: str


def make_language_scorer(
    language: str, model: Path | str | None = None
) -> Callable[[list[str]], list[LanguageScore]]:
    """Return a function that scores how likely texts are in a language, among all it knows.

    Args:
        language: ISO 639 code.
        model: As for ``make_identifier``. lingua chooses among its 75 languages here, in its fast
            mode: 100 MB of memory, where the exact one takes a gigabyte.

    Raises:
        MissingExtraError: when the package it needs is not installed.
        CorpusError: when the language is not supported, or the file is missing or no such model.
    """
    wanted = _code(language)
    if model is not None:
        rank, known = _load_ranker(Path(model))
        _check_known([language], {language} if wanted in known else (), str(model))

        def by_fasttext(texts: list[str]) -> list[LanguageScore]:
            return [
                LanguageScore(
                    sum(share for code, share in ranked if code == wanted),
                    ranked[0][0] if ranked else "",
                )
                for ranked in map(list, rank(texts, 5))
            ]

        return by_fasttext
    known, builder = _load_lingua()
    _check_known([language], {language} if wanted in known else (), "lingua")
    detector = builder.from_all_languages().with_low_accuracy_mode().build()
    code_of = {value: code for code, value in known.items()}

    def by_lingua(texts: list[str]) -> list[LanguageScore]:
        found: list[list[Any]] = detector.compute_language_confidence_values_in_parallel(texts)
        return [
            LanguageScore(
                next((v.value for v in values if code_of[v.language] == wanted), 0.0),
                code_of[values[0].language] if values and values[0].value > 0 else "",
            )
            for values in found
        ]

    return by_lingua


def unknown_to_lingua(languages: Sequence[str]) -> list[str]:
    """Return the languages that lingua cannot identify.

    Raises:
        MissingExtraError: when lingua is not installed.
    """
    known, _ = _load_lingua()
    return [code for code in languages if _code(code) not in known]


def make_identifier(languages: Sequence[str], model: Path | str | None = None) -> Identifier:
    """Return an identifier that chooses among some languages.

    Args:
        languages: ISO 639 codes to choose among.
        model: File of a fastText model with labels such as ``__label__ell_Grek`` or
            ``__label__el``; without one lingua is used.

    Raises:
        MissingExtraError: when the package it needs is not installed.
        CorpusError: when a language is not supported, or the file is missing or no such model.
    """
    if model is not None:
        return _fasttext_identifier(languages, Path(model))
    known, builder = _load_lingua()
    code_of = {known[_code(code)]: code for code in languages if _code(code) in known}
    _check_known(languages, code_of.values(), "lingua")
    if len(code_of) < 2:
        only = next(iter(languages))
        return lambda texts: [only] * len(texts)
    detector = builder.from_languages(*code_of).build()

    def identify(texts: list[str]) -> list[str]:
        found: list[Any] = detector.detect_languages_in_parallel_of(texts)
        return [code_of.get(language, "") for language in found]

    return identify


def _fasttext_identifier(languages: Sequence[str], path: Path) -> Identifier:
    rank, known = _load_ranker(path)
    code_of = {_code(code): code for code in languages if _code(code) in known}
    _check_known(languages, code_of.values(), str(path))

    def identify(texts: list[str]) -> list[str]:
        return [
            next((code_of[code] for code, _ in ranked if code in code_of), "")
            for ranked in rank(texts, -1)
        ]

    return identify


def _load_lingua() -> tuple[dict[str, Any], Any]:
    """Return lingua's languages by ISO 639-1 code and its builder of detectors."""
    lingua = import_extra("lingua", "lingua-language-detector", "Identifying languages")
    known = {lang.iso_code_639_1.name.lower(): lang for lang in lingua.Language.all()}
    return known, lingua.LanguageDetectorBuilder


_Ranker = Callable[[list[str], int], list[Iterator[tuple[str, float]]]]


def _load_ranker(path: Path) -> tuple[_Ranker, Collection[str]]:
    """Load a fastText identifier.

    Returns:
        A function from texts to the (code, probability) of each text's k best labels, all for -1;
        and the codes that the model knows.
    """
    model = load_fasttext(path, "Give a fastText identifier, such as GlotLID's model.bin.")
    code_of = {label: _code(label.removeprefix("__label__")) for label in model.get_labels()}

    def rank(texts: list[str], k: int) -> list[Iterator[tuple[str, float]]]:
        if not texts:
            return []
        labels, shares = model.predict([text.replace("\n", " ") for text in texts], k=k)
        return [
            ((code_of[label], float(share)) for label, share in zip(*ranked, strict=True))
            for ranked in zip(labels, shares, strict=True)
        ]

    return rank, set(code_of.values())


def load_fasttext(path: Path | str, advice: str) -> Any:
    """Load a fastText model.

    Raises:
        MissingExtraError: when fastText is not installed.
        CorpusError: when the file is missing (with ``advice``) or not a model.
    """
    fasttext = import_extra("fasttext", "fasttext-numpy2-wheel", "A fastText model")
    if not Path(path).is_file():
        raise CorpusError(f"There is no file {path}. {advice}")
    try:
        return fasttext.load_model(str(path))
    except ValueError as error:
        raise CorpusError(f"{path} is not a fastText model: {error}") from None


def _code(label: str) -> str:
    """Return the shortest ISO 639 code; Norwegian is Bokmål, as in lingua."""
    code = shortest_code(label)
    return "nb" if code == "no" else code


def _check_known(languages: Sequence[str], known: Collection[str], origin: str) -> None:
    unknown = [language for language in languages if language not in known]
    if unknown:
        raise CorpusError(
            f"{origin} cannot identify {', '.join(unknown)}. Give a fastText model that can, such "
            "as GlotLID's model.bin."
        )
