"""What every file of corpus/filters keeps."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from langraft.corpus.filter import AbstractFilter, Rejection
from langraft.corpus.filters import FILTERS
from langraft.corpus.filters.boilerplate import Boilerplate
from langraft.corpus.filters.classifier import Classifier
from langraft.corpus.filters.decontaminate import Decontaminate
from langraft.corpus.filters.language import Language
from langraft.corpus.filters.mojibake import Mojibake
from langraft.corpus.filters.perplexity import Perplexity
from langraft.corpus.filters.quality import Quality
from langraft.corpus.filters.repair import Repair
from langraft.corpus.filters.repetition import Repetition
from langraft.corpus.text_batch import TextBatch
from thorough import examples

GOOD = (
    "The old man who lives by the river walks to the market every morning, and when he comes home "
    "he tells his neighbours what he has seen: boats that come up with the tide, children with "
    "kites, and once a heron that stood on one leg until the bells rang. Nobody believes that the "
    "heron was there, but they listen, because he has a good voice and because it is warm inside."
)

ARPA = """\\data\\
ngram 1=5
ngram 2=1

\\1-grams:
-2.0\t<unk>\t0
-99\t<s>\t0
-1.0\t</s>\t0
-1.0\tthe\t0
-1.5\triver\t0

\\2-grams:
-0.5\tthe river

\\end\\
"""


def make_classifier(folder: Path) -> AbstractFilter:
    """A classifier that finds English good; tests/data/README.md says how it was trained."""
    pytest.importorskip("fasttext")
    del folder
    model = Path(__file__).parent.parent / "data" / "identifier.bin"
    return Classifier(model=str(model), label="__label__eng_Latn")


def make_perplexity(folder: Path) -> AbstractFilter:
    pytest.importorskip("kenlm")
    (folder / "en.arpa").write_text(ARPA, encoding="utf-8")
    return Perplexity(model=str(folder / "{language}.arpa"), max_perplexity=1000)


def make_decontaminate(folder: Path) -> AbstractFilter:
    items = [{"question": "Which bird stood on one leg until all of the bells had rung at last?"}]
    (folder / "items.jsonl").write_text("\n".join(map(json.dumps, items)), encoding="utf-8")
    return Decontaminate(paths=(str(folder / "*.jsonl"),))


# How a test makes each filter so that GOOD passes; a new filter adds a line.
FACTORIES: dict[str, Callable[[Path], AbstractFilter]] = {
    "boilerplate": lambda folder: Boilerplate(),
    "classifier": make_classifier,
    "decontaminate": make_decontaminate,
    "language": lambda folder: Language(),
    "mojibake": lambda folder: Mojibake(),
    "perplexity": make_perplexity,
    "quality": lambda folder: Quality(),
    "repair": lambda folder: Repair(),
    "repetition": lambda folder: Repetition(),
}


@pytest.fixture(params=list(FILTERS))
def filter_(request: pytest.FixtureRequest, tmp_path: Path) -> AbstractFilter:
    assert request.param in FACTORIES, f"add a factory for the filter {request.param!r} above"
    return FACTORIES[request.param](tmp_path)


def test_good_text_stays_as_it_is(filter_: AbstractFilter) -> None:
    assert filter_.make_judge("en")(TextBatch([GOOD], "en")) == [GOOD]


def test_there_is_one_verdict_a_text_and_none_depends_on_the_others(
    filter_: AbstractFilter,
) -> None:
    judge = filter_.make_judge("en")
    texts = [
        GOOD,
        "",
        "no",
        "na " * 300,
        "\x00\ufeff",
        "1 2 3\n" * 30,
        GOOD[:100],
        "…\n" * 9,
        "Ã¡rvÃ­z",
        "<p>a&nbsp;b</p>",
    ]
    together = judge(TextBatch(texts, "en"))
    assert len(together) == len(texts)
    assert together == [judge(TextBatch([text], "en"))[0] for text in texts]
    assert judge(TextBatch([], "en")) == []


@settings(max_examples=examples(25), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=80), max_size=5))
def test_any_text_is_judged(filter_: AbstractFilter, texts: list[str]) -> None:
    for verdict in filter_.make_judge("en")(TextBatch(texts, "en")):
        if isinstance(verdict, Rejection):
            assert verdict.reason
        else:
            assert verdict.encode().decode() == verdict


def test_it_can_be_sent_to_another_process(filter_: AbstractFilter) -> None:
    assert pickle.loads(pickle.dumps(filter_)) == filter_


def test_it_is_written_in_a_recipe_as_it_is_dumped(filter_: AbstractFilter) -> None:
    dumped = filter_.model_dump(mode="json")
    assert FILTERS[dumped["name"]] is type(filter_)
    assert type(filter_).model_validate(dumped) == filter_
