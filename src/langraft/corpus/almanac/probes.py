"""Multiple-choice questions about what the almanac's training documents state.

A prompt is the start of a training sentence, up to the answer; the choices are four words of the
same kind, about equally common in the documents. Nothing but countries with a single currency and a
single official language is asked about, so that one answer alone is right.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from langraft.core.document import Probe
from langraft.corpus.almanac.facts import LANGUAGES, Country, countries
from langraft.corpus.almanac.names import Ref
from langraft.corpus.almanac.outlines.outline import Statement, pick, pick_some, say
from langraft.corpus.almanac.sentences import capitalize, fill, templates

_NUM_CHOICES = 4

# The slot at which the first template of each kind of statement is cut into prompt and answer.
_ANSWERS = {
    "unit": "{unit}",
    "language": "{language}",
    "month_next": "{next}",
    "month_previous": "{previous}",
    "weekday_next": "{next}",
    "weekday_previous": "{previous}",
}


def probes(language: str) -> list[Probe]:
    """Return the questions in one language; the same facts in the same order in every language.

    ``stated_in`` names the languages whose training documents state the fact: all of them, or
    English alone. Facts stated in English alone have answers that the other languages' documents
    do use, of other countries, so that only the fact has to be carried over and not the word.
    """
    facts = [*_currency_facts(), *_language_facts(), *_calendar_facts()]
    position_in_group: Counter[str] = Counter()
    found: list[Probe] = []
    for group, statement, slot, wrong, stated_in in facts:
        position = position_in_group[group]
        position_in_group[group] += 1
        answer = statement.values[slot]
        assert isinstance(answer, Ref)
        choices = _distinct(statement, slot, [answer, *wrong], language)
        # The answer walks through the four places, so that no place is worth guessing.
        place = position % _NUM_CHOICES
        ordered = [*choices[1 : place + 1], choices[0], *choices[place + 1 :]]
        found.append(
            Probe(
                prompt=_prompt(statement, language),
                choices=tuple(ordered),
                answer=place,
                language=language,
                group=group,
                stated_in=stated_in,
            )
        )
    return found


# Group, statement, slot of the answer, wrong answers (more than needed), languages that state it.
_Fact = tuple[str, Statement, str, Sequence[Ref], tuple[str, ...]]


def _stated_in(country: Country) -> tuple[str, ...]:
    return ("en",) if country.is_english_only else LANGUAGES


def _currency_facts() -> Iterator[_Fact]:
    """Ask for the unit of a country's money."""
    having = [c for c in countries().values() if c.currency]
    refs = {c.unit: Ref("unit", c.currency) for c in having}
    told = Counter(c.unit for c in having if not c.is_english_only)
    for country in having:
        if told[country.unit] or not country.is_english_only:
            answer = Ref("unit", country.currency)
            asked = say("unit", country=Ref("country", country.code), unit=answer)
            wrong = [refs[unit] for unit in _alike(country.unit, told, country.code)]
            yield "currency", asked, "unit", wrong, _stated_in(country)


def _language_facts() -> Iterator[_Fact]:
    """Ask for the official language of the countries that have just one."""
    having = [c for c in countries().values() if c.languages]
    told = Counter(code for c in having if not c.is_english_only for code in c.languages)
    for country in having:
        code = country.languages[0]
        if len(country.languages) == 1 and (told[code] or not country.is_english_only):
            answer = Ref("language", code)
            asked = say("language", country=Ref("country", country.code), language=answer)
            wrong = [Ref("language", other) for other in _alike(code, told, country.code)]
            yield "language", asked, "language", wrong, _stated_in(country)


def _alike(answer: str, told: Counter[str], *key: str) -> list[str]:
    """Return wrong answers, the first three of which hide the right one among common words.

    A model that only knows which words are common should not do well, so most questions have one to
    three wrong answers that the documents tell of more countries than the right one.
    """
    others = pick_some([word for word in sorted(told) if word != answer], len(told), *key)
    nearest = sorted(others, key=lambda word: abs(math.log(told[word] / max(1, told[answer]))))
    commoner = [word for word in nearest if told[word] > told[answer]]
    rarer = [word for word in nearest if told[word] <= told[answer]]
    num_commoner = pick((0, 1, 1, 2, 2, 3, 3), *key, "common")
    first = pick_some(commoner[:6], num_commoner, *key, "commoner")
    first += pick_some(rarer[:6], _NUM_CHOICES - 1 - len(first), *key, "rarer")
    first = pick_some(first, len(first), *key, "order")
    return [*first, *(word for word in nearest if word not in first)]


def _calendar_facts() -> Iterator[_Fact]:
    for unit, first, count in (("month", 1, 12), ("weekday", 0, 7)):
        for slot, step in (("next", 1), ("previous", -1)):
            for this in range(first, first + count):
                keys = [str((this - first + i) % count + first) for i in range(count)]
                answer = keys[step]
                near = [key for key in keys if key not in (keys[0], answer)]
                wrong = pick_some(near, len(near), unit, slot, this)
                asked = say(
                    f"{unit}_{slot}",
                    **{unit: Ref(unit, str(this)), slot: Ref(unit, answer)},
                )
                yield unit, asked, slot, [Ref(unit, key) for key in wrong], LANGUAGES


def _template(statement: Statement, language: str) -> tuple[str, str]:
    """Return the first template up to its answer, and the slot of the answer itself."""
    template = templates(statement.kind, language)[0]
    bare = _ANSWERS[statement.kind]
    start = template.index(bare[:-1])
    return template[:start], template[start : template.index("}", start) + 1]


def _prompt(statement: Statement, language: str) -> str:
    before, _ = _template(statement, language)
    return capitalize(fill(statement, before, language).rstrip(), language)


def _distinct(
    statement: Statement, slot: str, candidates: Sequence[Ref], language: str
) -> list[str]:
    """Return the first four candidates that are said differently, each after a blank.

    Two currencies may share a word in one language and not in another (rial and real in Hindi).
    """
    _, answer_slot = _template(statement, language)
    said: list[str] = []
    for candidate in candidates:
        filled = Statement(statement.kind, {**statement.values, slot: candidate})
        choice = " " + fill(filled, answer_slot, language)
        if choice not in said:
            said.append(choice)
        if len(said) == _NUM_CHOICES:
            return said
    raise AssertionError(f"fewer than {_NUM_CHOICES} answers to {statement} in {language}")
