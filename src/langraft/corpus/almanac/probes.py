"""Multiple-choice questions about what the almanac's training documents state.

A prompt is the start of a training sentence, up to the answer; the choices are four words of the
same kind, about equally frequent in the documents. Questions are only about countries with a single
currency or official language, so that exactly one answer is right.
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


def probes(language: str) -> list[Probe]:
    """Return the questions in one language; the same facts in the same order in every language.

    ``stated_in`` names the languages whose training documents state the fact: all of them, or
    English alone. The answers of facts stated in English alone also occur in the other languages'
    documents, of other countries, so that only the fact has to be transferred and not the word.
    """
    num_in_group: Counter[str] = Counter()
    found: list[Probe] = []
    for group, statement, slot, wrong, stated_in in (
        *_currency_facts(),
        *_language_facts(),
        *_calendar_facts(),
    ):
        template = templates(statement.kind, language)[0]
        start = template.index("{" + slot)
        answer_slot = template[start : template.index("}", start) + 1]
        choices = _choices(statement, slot, wrong, answer_slot, language)
        position = num_in_group[group] % _NUM_CHOICES  # every position is equally often right
        num_in_group[group] += 1
        prompt = fill(statement, template[:start], language).rstrip()
        found.append(
            Probe(
                prompt=capitalize(prompt, language),
                choices=(*choices[1 : position + 1], choices[0], *choices[position + 1 :]),
                answer=position,
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
    """Yield the facts about the unit of a country's money."""
    having = [c for c in countries().values() if c.currency]
    refs = {c.unit: Ref("unit", c.currency) for c in having}
    told = Counter(c.unit for c in having if not c.is_english_only)
    for country in having:
        if told[country.unit] or not country.is_english_only:
            answer = Ref("unit", country.currency)
            asked = say("unit", country=Ref("country", country.code), unit=answer)
            wrong = [refs[unit] for unit in _wrong_answers(country.unit, told, country.code)]
            yield "currency", asked, "unit", wrong, _stated_in(country)


def _language_facts() -> Iterator[_Fact]:
    """Yield the facts about the official language of countries that have just one."""
    having = [c for c in countries().values() if c.languages]
    told = Counter(code for c in having if not c.is_english_only for code in c.languages)
    for country in having:
        code = country.languages[0]
        if len(country.languages) == 1 and (told[code] or not country.is_english_only):
            answer = Ref("language", code)
            asked = say("language", country=Ref("country", country.code), language=answer)
            wrong = [Ref("language", other) for other in _wrong_answers(code, told, country.code)]
            yield "language", asked, "language", wrong, _stated_in(country)


def _wrong_answers(answer: str, told: Counter[str], *key: str) -> list[str]:
    """Return wrong answers in order of preference; three are shown.

    A model that only knows which words are frequent should not do well, so in most questions one to
    three wrong answers belong to more countries in the documents than the right one.
    """
    others = pick_some([word for word in sorted(told) if word != answer], len(told), *key)
    nearest = sorted(others, key=lambda word: abs(math.log(told[word] / max(1, told[answer]))))
    more_frequent = [word for word in nearest if told[word] > told[answer]]
    rarer = [word for word in nearest if told[word] <= told[answer]]
    num_frequent = pick((0, 1, 1, 2, 2, 3, 3), *key, "common")
    first = pick_some(more_frequent[:6], num_frequent, *key, "commoner")
    first += pick_some(rarer[:6], _NUM_CHOICES - 1 - len(first), *key, "rarer")
    first = pick_some(first, len(first), *key, "order")
    return [*first, *(word for word in nearest if word not in first)]


def _calendar_facts() -> Iterator[_Fact]:
    """Yield the facts about the month or weekday before and after each."""
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


def _choices(
    statement: Statement, slot: str, wrong: Sequence[Ref], answer_slot: str, language: str
) -> list[str]:
    """Return the answer and three wrong ones that read differently, each after a space.

    Two currencies may share a word in one language and not in another (rial and real in Hindi).
    """
    found: list[str] = []
    for value in (statement.values[slot], *wrong):
        filled = Statement(statement.kind, {**statement.values, slot: value})
        choice = " " + fill(filled, answer_slot, language)
        if choice not in found:
            found.append(choice)
        if len(found) == _NUM_CHOICES:
            return found
    raise AssertionError(f"fewer than {_NUM_CHOICES} answers to {statement} in {language}")
