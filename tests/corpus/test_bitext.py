from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langraft.core.document import Piece
from langraft.corpus.bitext import one_line, pair_problem, render_pair

SENTENCES = st.text(min_size=1, max_size=60).filter(lambda text: text.strip() != "")


def text_of(pieces: tuple[Piece, ...]) -> str:
    return "".join(piece.text for piece in pieces)


def all_forms(first: str, second: str) -> set[str]:
    """Write the four forms out by hand, of a pair in English and Greek."""
    ask = "\nTranslate this sentence from {} to {}.\n"
    return {
        first + ask.format("English", "Greek") + second,
        second + ask.format("Greek", "English") + first,
        f"English: {first}\nGreek: {second}",
        f"Greek: {second}\nEnglish: {first}",
    }


@given(first=SENTENCES, second=SENTENCES)
def test_a_pair_is_written_in_one_of_four_forms_with_both_sentences(
    first: str, second: str
) -> None:
    pieces = render_pair(Piece("en", first), Piece("el", second))
    assert text_of(pieces) in all_forms(one_line(first), one_line(second))
    assert {piece.language for piece in pieces} == {"en", "el"}
    assert all(one.language != next.language for one, next in itertools.pairwise(pieces))


@given(first=SENTENCES, second=SENTENCES)
def test_the_piece_in_a_language_that_is_not_english_is_its_sentence_alone(
    first: str, second: str
) -> None:
    pieces = render_pair(Piece("en", first), Piece("el", second))
    (greek,) = [piece.text for piece in pieces if piece.language == "el"]
    assert greek.removeprefix(" ") in (one_line(second), one_line(second).removeprefix(" "))


def test_each_form_has_a_quarter_of_the_pairs() -> None:
    forms = Counter[tuple[bool, bool]]()
    for number in range(8000):
        first, second = f"Sentence {number}.", f"Πρόταση {number}."
        text = text_of(render_pair(Piece("en", first), Piece("el", second)))
        is_forward = text.index("Sentence") < text.index("Πρόταση")
        forms[text.startswith(("English:", "Greek:")), is_forward] += 1
    assert len(forms) == 4
    assert all(abs(count / 8000 - 0.25) < 0.02 for count in forms.values()), forms


def test_the_form_depends_on_the_pair_alone() -> None:
    pair = Piece("en", "The sea is calm."), Piece("el", "Η θάλασσα είναι ήρεμη.")
    assert len({render_pair(*pair) for _ in range(10)}) == 1


@pytest.mark.parametrize("number", range(12))
def test_without_english_in_the_pair_an_instruction_counts_as_the_language_before_it(
    number: int,
) -> None:
    pieces = render_pair(Piece("hu", f"Mondat {number}."), Piece("el", f"Πρόταση {number}."))
    assert len(pieces) == 2
    assert {piece.language for piece in pieces} == {"hu", "el"}
    if "Translate" in text_of(pieces):
        assert "Translate this sentence from" in pieces[0].text
        assert pieces[0].text.endswith(".\n")
    else:
        names = {"hu": "Hungarian:", "el": "Greek:"}
        assert all(names[piece.language] in piece.text for piece in pieces)


def test_any_english_of_the_pair_takes_the_english_that_we_add() -> None:
    for number in range(12):
        pieces = render_pair(Piece("en-GB", f"One {number}."), Piece("el", f"Ένα {number}."))
        (greek,) = [piece.text for piece in pieces if piece.language == "el"]
        assert greek.strip() == f"Ένα {number}."


def test_a_sentence_is_one_line() -> None:
    assert one_line(" one\r\n two\u2028three \n") == "one two three"
    assert one_line("起初，\u3000神") == "起初，\u3000神"


# Which pairs are none


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Yes.", "Ναι, βεβαίως."),
        ("In the beginning God created the heavens and the earth.", "起初，神创造天地。"),
        ("about how long have these symptoms been going on?", "这些症状持续多久了？"),
        ("a" * 300, "b" * 110),
    ],
)
def test_translations_of_usual_lengths_are_pairs(first: str, second: str) -> None:
    assert pair_problem(first, second, 3.0) is None
    assert pair_problem(second, first, 3.0) is None


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ("The same.", " The same. ", "both sides are the same"),
        ("Short.", "x" * 60, "too different in length"),
        ("a" * 400, "b" * 110, "too different in length"),
    ],
)
def test_what_is_no_pair_has_a_reason(first: str, second: str, reason: str) -> None:
    assert pair_problem(first, second, 3.0) == reason
    assert pair_problem(second, first, 3.0) == reason
