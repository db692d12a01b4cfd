"""What a model is asked, to the letter: the forms of PolyLM's table and of the other suites."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from harness_setup import LONG, plan_one, requests, write_lines

from langraft.evaluate.benchmarks.harness import harness_model
from langraft.evaluate.benchmarks.harness_tasks import make_tasks
from langraft.families.load import load_tokenizer
from tiny import tiny_model

NEWLINE = {"until": ["\n"], "do_sample": False, "max_gen_toks": 256}


@pytest.mark.parametrize(
    ("language", "question", "words"),
    [("en", "right", ("Yes", "Also", "No")), ("el", "σωστός", ("Ναί", "Έτσι", "όχι"))],
)
def test_xnli_joins_premise_and_hypothesis_with_a_word_of_the_language(
    wrapped: Any, tmp_path: Path, language: str, question: str, words: tuple[str, ...]
) -> None:
    record = {"premise": "It rains", "hypothesis": "it is wet.", "label": 0}
    write_lines(tmp_path / f"xnli/{language}.test.jsonl", [record])
    found = requests(wrapped, plan_one("xnli", tmp_path, language))
    assert found == [("", f" It rains, {question}? {word}, it is wet.") for word in words]


@pytest.mark.parametrize(
    ("language", "cause", "effect"),
    [
        ("et", "sest", "seetõttu"),
        ("ht", "poukisa", "donk sa"),
        ("id", "karena", "maka"),
        ("it", "perché", "quindi"),
        ("qu", "imataq", "chaymi"),
        ("sw", "kwa sababu", "kwa hiyo"),
        ("ta", "காரணமாக", "எனவே"),
        ("th", "เพราะ", "ดังนั้น"),
        ("tr", "çünkü", "bu yüzden"),
        ("vi", "bởi vì", "vì vậy"),
        ("zh", "因为", "所以"),
    ],
)
def test_xcopa_has_the_connective_in_the_language(
    wrapped: Any, tmp_path: Path, language: str, cause: str, effect: str
) -> None:
    for question, connective in (("cause", cause), ("effect", effect)):
        choices = {"choice1": "Xa yo.", "choice2": "Za yo."}
        record = {"premise": "Aba yo.", **choices, "question": question, "label": 1}
        write_lines(tmp_path / f"xcopa/{language}.test.jsonl.gz", [record])
        found = requests(wrapped, plan_one("xcopa", tmp_path, language))
        assert found == [(f"Aba yo {connective}", f" {choice}") for choice in ("xa yo.", "za yo.")]


def test_pawsx_asks_in_the_language_whether_two_sentences_agree(
    wrapped: Any, tmp_path: Path
) -> None:
    record = {"sentence1": "Er kam .", "sentence2": "Er war da .", "label": 1}
    write_lines(tmp_path / "pawsx/de.test.jsonl", [record])
    found = requests(wrapped, plan_one("pawsx", tmp_path, "de"))
    assert found == [("", f"Er kam, richtig? {word}, er war da.") for word in ("Nein", "Ja")]


RELEASE = {
    "sentence": 'Tom said "Check" to Ralph as he moved his bishop.',
    "tokens": [
        *("Tom", "said", "``", "Check", "''", "to", "Ralph", "as", "he", "moved", "his"),
        *("bishop", "."),
    ],
    "pronoun": ["his", [10, 11], ["his"]],
    "candidates": [["Tom", [0, 1], ["Tom"], True], ["Ralph", [6, 7], ["Ralph"], False]],
}
HUB = {
    "sentence": 'Tom said "Check" to Ralph as he moved _ bishop.',
    "option1": "Tom",
    "option2": "Ralph",
    "answer": "1",
}


@pytest.mark.parametrize("record", [RELEASE, HUB])
def test_xwinograd_scores_what_follows_each_choice(
    wrapped: Any, tmp_path: Path, record: dict[str, Any]
) -> None:
    write_lines(tmp_path / "xwinograd/en.jsonl", [record])
    found = requests(wrapped, plan_one("xwinograd", tmp_path, "en"))
    before = 'Tom said "Check" to Ralph as he moved '
    assert found == [(f"{before}{choice}", " bishop.") for choice in ("Tom", "Ralph")]


def test_tydiqa_names_the_language_and_shows_one_example(wrapped: Any, tmp_path: Path) -> None:
    for split, word in (("train", "nyumba"), ("validation", "mto")):
        record = {
            "id": f"swahili-{word}",
            "context": f"Hii ni {word}.",
            "question": "Hii ni nini?",
            "answers": {"text": [word], "answer_start": [7]},
        }
        write_lines(tmp_path / f"tydiqa/sw.{split}.jsonl", [record])
    ((prompt, settings),) = requests(wrapped, plan_one("tydiqa", tmp_path, "sw"))
    asked = "Read the context and answer the question in one or a few words in Swahili.\n"
    assert prompt == (
        f"{asked}Context: Hii ni nyumba.\nQuestion: Hii ni nini?\nAnswer: nyumba\n\n"
        f"{asked}Context: Hii ni mto.\nQuestion: Hii ni nini?\nAnswer:"
    )
    assert settings == NEWLINE


@pytest.mark.parametrize(
    ("part", "instruction"),
    [
        ("story", "Write an ending of the story in German."),
        ("title", "Write a title of the text in German."),
        ("question", "Write a question about the text in German."),
        ("summary", "Write a summary of the text in German."),
    ],
)
def test_mtg_asks_for_each_kind_of_text(
    wrapped: Any, tmp_path: Path, part: str, instruction: str
) -> None:
    kinds = ("story", "title", "question", "summary")
    for split in ("train", "test"):
        records = [{"task": k, "source": f"{split} {k}", "target": f"Ziel {k}"} for k in kinds]
        write_lines(tmp_path / f"mtg/de.{split}.jsonl", records)
    ((prompt, settings),) = requests(wrapped, plan_one("mtg", tmp_path, "de", part))
    assert prompt == (f"train {part}\n{instruction}\nZiel {part}\n\ntest {part}\n{instruction}\n")
    assert settings == NEWLINE


@pytest.mark.parametrize(
    ("part", "named", "languages"),
    [("from_en", "en-zh", "English to Chinese"), ("to_en", "zh-en", "Chinese to English")],
)
def test_wmt20_asks_after_the_sentence(
    wrapped: Any, tmp_path: Path, part: str, named: str, languages: str
) -> None:
    source, target = named.split("-")
    for split in ("dev", "test"):
        record = {source: f"{split} in", target: f"{split} out"}
        write_lines(tmp_path / f"wmt20/{named}.{split}.jsonl", [record])
    ((prompt, settings),) = requests(wrapped, plan_one("wmt20", tmp_path, "zh", part))
    asked = f"Translate this sentence from {languages}."
    assert prompt == f"dev in {asked}\ndev out\n\ntest in {asked}"
    assert settings == NEWLINE


def test_flores_shows_pairs_in_both_layouts(wrapped: Any, tmp_path: Path) -> None:
    write_lines(tmp_path / "flores/en-el.dev.jsonl", [{"en": "A house.", "el": "Ένα σπίτι."}])
    hub = {"sentence_eng_Latn": "A river.", "sentence_ell_Grek": "Ένα ποτάμι."}
    write_lines(tmp_path / "flores/en-el.devtest.jsonl", [hub])
    planned = plan_one("flores", tmp_path, "el", "from_en", shots=1)
    ((prompt, _),) = requests(wrapped, planned)
    assert prompt == (
        "English sentence: A house.\nGreek sentence: Ένα σπίτι.\n\n"
        "English sentence: A river.\nGreek sentence:"
    )
    back = plan_one("flores", tmp_path, "el", "to_en", shots=0)
    ((prompt, _),) = requests(wrapped, back)
    assert prompt == "Greek sentence: Ένα ποτάμι.\nEnglish sentence:"


def test_belebele_takes_passages_with_their_questions(wrapped: Any, tmp_path: Path) -> None:
    answers = [{"text": text, "correct": text == "two"} for text in ("one", "two", "three", "four")]
    passage = {"text": "P.", "items": [{"question": "Q?", "answers": answers}]}
    write_lines(tmp_path / "belebele/tr.jsonl", [passage])
    found = requests(wrapped, plan_one("belebele", tmp_path, "tr", shots=0))
    prompt = "P: P.\nQ: Q?\nA: one\nB: two\nC: three\nD: four\nAnswer:"
    assert found == [(prompt, f" {letter}") for letter in "ABCD"]


def test_a_tuned_model_gets_no_example_and_may_write_lines(wrapped: Any, tmp_path: Path) -> None:
    record = {"en": "in", "zh": "out"}
    write_lines(tmp_path / "wmt20/en-zh.test.jsonl", [record])
    planned = plan_one("wmt20", tmp_path, "zh", "from_en")
    ((prompt, settings),) = requests(wrapped, planned, is_tuned=True)
    assert prompt == "in Translate this sentence from English to Chinese."
    assert settings == NEWLINE | {"until": []}


def test_a_tuned_model_stops_where_its_template_ends_a_turn(wrapped: Any, tmp_path: Path) -> None:
    write_lines(tmp_path / "wmt20/en-zh.test.jsonl", [{"en": "in", "zh": "out"}])
    planned = plan_one("wmt20", tmp_path, "zh", "from_en")
    stop = wrapped.tokenizer.eos_token_id
    ((_, settings),) = requests(wrapped, planned, is_tuned=True, stop_ids=[stop])
    assert settings["until"] == ["<|endoftext|>"]
    assert settings["eos_token_id"] == [stop]


def test_what_is_written_after_a_turn_while_others_go_on_is_no_answer(
    tokenizer_folder: Path, tmp_path: Path
) -> None:
    tokenizer: Any = load_tokenizer(tokenizer_folder)
    model = tiny_model(**LONG)
    write_lines(tmp_path / "wmt20/en-zh.test.jsonl", [{"en": e, "zh": "x"} for e in ("a", "road")])
    planned = plan_one("wmt20", tmp_path, "zh", "from_en")

    def prompts(wrapped: Any, stop_ids: Sequence[int]) -> list[Any]:
        (task,) = make_tasks(planned, wrapped, is_tuned=True, stop_ids=stop_ids)[0].values()
        task.build_all_requests()
        return task.instances

    with harness_model(model, tokenizer, batch_size=1) as wrapped:
        said: list[list[int]] = []
        for instance in prompts(wrapped, ()):
            ids = torch.tensor([wrapped.tok_encode(instance.args[0])])
            said.append(model.generate(ids, max_new_tokens=40, do_sample=False)[0, ids.shape[1] :])
        first, second = (list(map(int, ids)) for ids in said)
        words = (token for token in first[1:20] if tokenizer.decode(token).isascii())
        stop = next(token for token in words if token not in {*second, first[0]})
        spelled = tokenizer.convert_ids_to_tokens(stop)
        tokenizer.add_special_tokens({"extra_special_tokens": [spelled]})
        alone = wrapped.generate_until(prompts(wrapped, [stop]), disable_tqdm=True)
    with harness_model(model, tokenizer, batch_size=2) as wrapped:
        together = wrapped.generate_until(prompts(wrapped, [stop]), disable_tqdm=True)
    said_before = tokenizer.decode(first[: first.index(stop)], skip_special_tokens=True)
    assert (alone[0], together) == (said_before, alone)
