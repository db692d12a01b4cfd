from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from pathlib import Path

import pytest
from pydantic import ValidationError

from langraft.core.document import Document, Probe
from langraft.core.errors import CorpusError, UserError
from langraft.corpus.almanac import documents, probes
from langraft.corpus.almanac.facts import LANGUAGES, Country, countries
from langraft.corpus.almanac.grammar import grammar
from langraft.corpus.almanac.names import Ref, name
from langraft.corpus.almanac.outlines import outlines
from langraft.corpus.almanac.sentences import sentence, templates
from langraft.corpus.almanac.wording import read_wording, wording
from langraft.corpus.sources.almanac import Almanac

OTHER_LANGUAGES = tuple(language for language in LANGUAGES if language != "en")


@cache
def all_documents(language: str) -> tuple[Document, ...]:
    return tuple(documents(language))


@cache
def train_text(language: str) -> str:
    return "\n".join(d.text for d in all_documents(language) if d.split == "train")


def english_only() -> list[Country]:
    return [country for country in countries().values() if country.is_english_only]


def say(kind: str, key: str, language: str, form: str = "") -> str:
    ref = Ref(kind, key)
    return grammar(language)(kind, key, name(ref, language), form)


def share_of_script(text: str, script: str) -> float:
    letters = [character for character in text if character.isalpha()]
    return sum(unicodedata.name(c).startswith(script) for c in letters) / len(letters)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_several_hundred_thousand_characters(language: str) -> None:
    assert 300_000 <= sum(len(d.text) for d in all_documents(language)) <= 800_000


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_document_is_a_short_paragraph(language: str) -> None:
    for document in all_documents(language):
        assert 150 <= len(document.text) <= 800, document
        assert "\n" not in document.text


@pytest.mark.parametrize("language", LANGUAGES)
def test_ids_are_unique(language: str) -> None:
    ids = [d.id for d in all_documents(language)]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("language", OTHER_LANGUAGES)
def test_documents_are_parallel_but_for_facts_that_only_english_states(language: str) -> None:
    english = {d.id: d.split for d in all_documents("en")}
    other = {d.id: d.split for d in all_documents(language)}
    assert other.items() <= english.items()
    codes = {country.code for country in english_only()}
    missing = english.keys() - other.keys()
    assert {doc_id.split(":")[1] for doc_id in missing} == codes
    assert {doc_id.split(":")[0] for doc_id in missing} == {"profile", "money", "speech"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_reading_twice_gives_the_same_documents(language: str) -> None:
    assert tuple(documents(language)) == all_documents(language)


def test_choices_do_not_depend_on_the_hash_seed() -> None:
    # The choice of sentences must be the same in every process; str hashes are not.
    first = next(d for d in all_documents("en") if d.id == "month:3-1")
    assert first.text == (
        "The month that follows March is April. When February ends, March begins. Between February "
        "and April there is one month, March. The 1st quarter is made up of January, February and "
        "March. In the order of the months, March is the 3rd. March lasts 31 days."
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_six_to_eight_percent_are_held_out(language: str) -> None:
    splits = Counter(d.split for d in all_documents(language))
    assert set(splits) == {"train", "heldout"}
    assert 0.06 <= splits["heldout"] / splits.total() <= 0.08


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_heldout_document_is_made_of_training_sentences(language: str) -> None:
    def sentences(document: Document) -> set[str]:
        return set(re.split(r"(?<=[.।]) (?=[^a-zà-ÿőű\d])", document.text))

    seen = {s for d in all_documents(language) if d.split == "train" for s in sentences(d)}
    for document in all_documents(language):
        if document.split == "heldout":
            assert not sentences(document) <= seen, document


@pytest.mark.parametrize("topic", ["profile", "money", "speech", "week", "date", "journey"])
def test_every_topic_is_held_out_now_and_then(topic: str) -> None:
    splits = {d.split for d in all_documents("hu") if d.id.startswith(f"{topic}:")}
    assert splits == {"train", "heldout"}


@pytest.mark.parametrize(("language", "script"), [("el", "GREEK"), ("hi", "DEVANAGARI")])
def test_text_is_in_the_script_of_its_language(language: str, script: str) -> None:
    for document in all_documents(language):
        # International codes are Latin in every language.
        words = [w for w in document.text.split() if not re.search(r"[A-Z]{2,3}", w)]
        assert share_of_script(" ".join(words), script) > 0.99, document


@pytest.mark.parametrize("language", ["en", "hu", "tr", "sw"])
def test_text_of_latin_languages_is_latin(language: str) -> None:
    assert share_of_script(train_text(language), "LATIN") > 0.999


@pytest.mark.parametrize("language", OTHER_LANGUAGES)
def test_no_english_word_is_left_over(language: str) -> None:
    english = r"\b(the|of|are|has|and|with|which|while|country|money|day|week|month|year)\b"
    leftovers = Counter(re.findall(english, train_text(language)))
    assert not leftovers


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_slot_is_unfilled_and_no_code_shows_through(language: str) -> None:
    for document in all_documents(language):
        assert not re.search(r"[{}\[\]()]|None|\.\.|  | [.,;:]|length-|mass-", document.text), (
            document
        )


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_sentence_begins_with_a_capital_or_a_digit(language: str) -> None:
    for outline in outlines()[::7]:
        for statement in outline.statements:
            for template in templates(statement.kind, language):
                first = sentence(statement, template, language)[0]
                assert first.isupper() or first.isdigit() or share_of_script(first, "DEVA") == 1


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_kind_of_sentence_is_said_in_two_to_six_ways_and_used(language: str) -> None:
    used = {statement.kind for outline in outlines() for statement in outline.statements}
    for kind in wording(language):
        ways = templates(kind, language)
        assert 3 <= len(set(ways)) == len(ways) <= 6, kind
        assert kind in used
        assert all(way.endswith("।" if language == "hi" else ".") for way in ways), kind


@pytest.mark.parametrize("language", OTHER_LANGUAGES)
def test_all_languages_fill_the_same_slots(language: str) -> None:
    for kind in wording(language):
        known = {s for way in templates(kind, "en") for s in re.findall(r"\{(\w+)", way)}
        said = {s for way in templates(kind, language) for s in re.findall(r"\{(\w+)", way)}
        assert said == known, kind


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda text: text.replace("\ntrip_count:", "\ntrip_counts:"),
            "no templates for trip_count",
        ),
        (lambda text: text + "\nweather:\n  - It rains.\n", "no kind of sentence 'weather'"),
        (lambda text: text.replace("{n} countries", "{m} countries"), r"trip_\w+ has no slot {m}"),
        (lambda text: text + '\nodd:\n  - "{n} is odd."\n', "odd"),
        (lambda text: re.sub(r"(?m)^even:\n( .*\n)+", "even: x\n", text), "even must be a list"),
        (lambda text: text.replace("even:\n", "even:\n  - 2\n"), "even holds 2, not a text"),
    ],
)
def test_a_damaged_wording_file_is_refused_with_what_is_wrong(
    tmp_path: Path, change: Callable[[str], str], message: str
) -> None:
    english = Path(str(files("langraft.corpus.almanac.wording") / "en.yaml"))
    path = tmp_path / "en.yaml"
    path.write_text(change(english.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(UserError, match=message):
        read_wording(path)


def test_a_sixth_of_the_countries_are_stated_in_english_only() -> None:
    assert 0.15 <= len(english_only()) / len(countries()) <= 0.20


@pytest.mark.parametrize("language", OTHER_LANGUAGES)
def test_english_only_facts_are_absent_from_other_languages(language: str) -> None:
    names = {code: say("country", code, language) for code in countries()}
    spoken = {code for country in countries().values() for code in country.languages}
    # "Niger" is no mention of it inside "Nigeria", nor is स्पेन inside स्पेनिश.
    others = {*names.values(), *(say("language", code, language) for code in spoken)}
    for country in english_only():
        country_name = names[country.code]
        longer = [n for n in others if country_name in n and n != country_name]
        about = [d for d in all_documents(language) if country_name in _without(d.text, longer)]
        # Only the document about its week mentions the country at all (in its basic form).
        assert {d.id for d in about} <= {f"week:{country.code}"}
        week = next(d for d in all_documents(language) if d.id == f"week:{country.code}")
        assert say("unit", country.currency, language) not in week.text
        telling = week.text.replace(country_name, "")
        for code in country.languages:
            assert say("language", code, language) not in telling


def _without(text: str, names: list[str]) -> str:
    for longer in names:
        text = text.replace(longer, "")
    return text


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_probed_fact_is_stated_in_training_documents(language: str) -> None:
    train = {d.id: d.text for d in all_documents(language) if d.split == "train"}
    everywhere = {d.id: d.text for d in all_documents(language)}
    for country in countries().values():
        if language not in (("en",) if country.is_english_only else LANGUAGES):
            continue
        if country.currency:
            unit = say("unit", country.currency, language)
            telling = [i for i in (f"profile:{country.code}", f"money:{country.code}")]
            assert all(unit in everywhere[i] for i in telling)
            assert any(i in train for i in telling)
        if len(country.languages) == 1:
            spoken = say("language", country.languages[0], language)
            telling = [i for i in (f"profile:{country.code}", f"speech:{country.code}")]
            assert all(spoken in everywhere[i] for i in telling)
            assert any(i in train for i in telling)


def test_probes_ask_the_same_in_every_language() -> None:
    asked = [[(p.group, p.answer, p.stated_in) for p in probes(lang)] for lang in LANGUAGES]
    assert all(questions == asked[0] for questions in asked)


@pytest.mark.parametrize("language", LANGUAGES)
def test_probes_have_four_different_choices_after_a_blank(language: str) -> None:
    for probe in probes(language):
        assert probe.language == language
        assert len(set(probe.choices)) == 4
        assert all(choice[0] == " " and choice[1] != " " for choice in probe.choices)
        assert probe.prompt == probe.prompt.strip()
        assert "{" not in probe.prompt + "".join(probe.choices)


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_place_and_no_common_word_answers_probes(language: str) -> None:
    count = cache(train_text(language).count)
    for group in ("currency", "language"):
        for stated_in in (("en",), LANGUAGES):
            asked = [p for p in probes(language) if (p.group, p.stated_in) == (group, stated_in)]
            assert len(asked) >= 30
            commonest = [max(p.choices, key=count) == p.choices[p.answer] for p in asked]
            assert sum(commonest) / len(asked) < 0.45
    places = Counter(p.answer for p in probes(language))
    assert max(places.values()) - min(places.values()) <= 6


@pytest.mark.parametrize("language", LANGUAGES)
def test_answers_are_words_of_the_training_text(language: str) -> None:
    text = train_text(language).lower()
    for probe in probes(language):
        assert probe.choices[probe.answer].strip().lower() in text, probe


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_right_answer_completes_a_training_sentence_for_many_probes(language: str) -> None:
    text = train_text(language)

    def is_verbatim(probe: Probe) -> bool:
        return probe.prompt + probe.choices[probe.answer] in text

    def is_contradicted(probe: Probe) -> bool:
        wrong = [c for i, c in enumerate(probe.choices) if i != probe.answer]
        return any(re.search(re.escape(probe.prompt + c) + r"\b", text) for c in wrong)

    stated = [p for p in probes(language) if language in p.stated_in]
    assert sum(map(is_verbatim, stated)) > 0.2 * len(stated)
    assert not [p for p in stated if is_contradicted(p)]


@pytest.mark.parametrize("language", OTHER_LANGUAGES)
def test_no_english_only_probe_is_answered_in_another_language(language: str) -> None:
    untold = [p for p in probes(language) if p.stated_in == ("en",)]
    everything = "\n".join(d.text for d in all_documents(language))
    assert len(untold) >= 60
    assert not [p for p in untold if p.prompt + p.choices[p.answer] in everything]


@pytest.mark.parametrize(
    ("language", "kind", "key", "form", "expected"),
    [
        ("hu", "currency", "USD", "the", "az USA-dollár"),
        ("hu", "country", "US", "the", "az Egyesült Államok"),
        ("hu", "country", "HU", "the", "Magyarország"),
        ("hu", "number", "1200", "the", "az 1\N{NO-BREAK SPACE}200"),
        ("hu", "number", "100", "the", "a 100"),
        ("tr", "country", "FR", "of", "Fransa’nın"),
        ("tr", "country", "MH", "in", "Marshall Adaları’nda"),
        ("tr", "country", "TD", "in", "Çad’da"),
        ("tr", "country", "FR", "in", "Fransa’da"),
        ("tr", "country", "MA", "in", "Fas’ta"),
        ("tr", "month", "9", "is", "eylüldür"),
        ("tr", "percent", "25", "part", "%25’i"),
        ("tr", "unit", "XOF", "is", "franktır"),
        ("el", "country", "EG", "in", "στην Αίγυπτο"),
        ("el", "country", "DE", "in", "στη Γερμανία"),
        ("el", "country", "BE", "of", "του Βελγίου"),
        ("el", "country", "VC", "acc", "τον Άγιο Βικέντιο και τις Γρεναδίνες"),
        ("el", "month", "5", "of", "του Μαΐου"),
        ("el", "weekday", "5", "in", "στο Σάββατο"),
        ("hi", "number", "3", "ord", "तीसरा"),
        ("en", "number", "112", "ord", "112th"),
        ("en", "country", "NL", "", "the Netherlands"),
        ("sw", "currency", "HUF", "", "forint ya Hungaria"),
    ],
)
def test_names_are_inflected_as_a_native_writer_would(
    language: str, kind: str, key: str, form: str, expected: str
) -> None:
    assert say(kind, key, language, form) == expected


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_unknown_form_is_an_error(language: str) -> None:
    with pytest.raises(ValueError, match="form"):
        grammar(language)("code", "HU", "HU", "ablative")


def test_source_reads_the_almanac() -> None:
    source = Almanac(languages=("el", "sw"))
    assert tuple(source.read("sw")) == all_documents("sw")
    with pytest.raises(CorpusError, match="'hu' was asked for"):
        source.read("hu")


def test_source_refuses_languages_it_does_not_have() -> None:
    with pytest.raises(ValidationError, match=r"the almanac has no de, fr; .*el, hu, tr, hi, sw"):
        Almanac(languages=("en", "de", "fr"))


def test_fingerprint_names_babel_and_follows_the_text() -> None:
    import babel

    both, one = Almanac(languages=("el", "sw")), Almanac(languages=("el",))
    assert babel.__version__ in both.fingerprint()
    assert both.fingerprint() == Almanac(languages=("el", "sw")).fingerprint()
    assert both.fingerprint() != one.fingerprint()
