from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest

from langraft.core.document import Document, Split
from langraft.core.errors import CorpusError
from langraft.core.settings.corpus import Corpus
from langraft.corpus.build import WORK, build_corpus, read_heldout
from langraft.corpus.engines.local import Local
from langraft.corpus.source import AbstractSource, Part
from langraft.corpus.sources.files import Files
from langraft.corpus.storage.shards import open_stream
from langraft.tokenizers.document_tokenizer import DocumentTokenizer
from tokenizers import Tokenizer

MANY = 10**9  # a held-out budget that is never reached


class Listed(AbstractSource):
    """A source of texts that the test writes down, each with the split that it wants."""

    source: Literal["listed"] = "listed"
    records: tuple[tuple[str, Split | None], ...]

    def parts(self, stream: str) -> list[Part]:
        return [Part(name=stream)]

    def check(self, stream: str) -> None:
        del stream

    def read_part(self, stream: str, part: Part) -> Iterator[Document]:
        del part
        for number, (text, split) in enumerate(self.records):
            yield Document(text=text, language=stream, id=f"listed:{number}", split=split)

    def fingerprint(self) -> str:
        return str(self.records)


class DecidedListed(Listed):
    """The same, and it says which texts are held out."""

    has_split: ClassVar[bool] = True


def listed(texts: Sequence[str], split: Split | None = None) -> Listed:
    kind = Listed if split is None else DecidedListed
    return kind(languages=("en",), records=tuple((text, split) for text in texts))


def numbered(count: int) -> list[str]:
    return [f"This is document number {n} of its kind." for n in range(count)]


def corpus_of(*sources: AbstractSource, **keys: Any) -> Corpus:
    return Corpus(sources=sources, engine=Local(), **keys)


@pytest.fixture
def build(tmp_path: Path, tokenizer_folder: Path) -> Any:
    def build_english(
        *sources: AbstractSource, heldout_tokens: int = MANY, **keys: Any
    ) -> dict[str, Any]:
        counts = build_corpus(
            corpus_of(*sources, **keys),
            languages=["en"],
            tokenizer=tokenizer_folder,
            heldout_tokens=heldout_tokens,
            folder=tmp_path / "corpus",
        )
        shutil.rmtree(tmp_path / "corpus" / WORK)
        return counts["en"]

    return build_english


@pytest.fixture
def trained_on(tmp_path: Path, tokenizer_folder: Path, tokenizer: DocumentTokenizer) -> Any:
    decoder = Tokenizer.from_file(str(tokenizer_folder / "tokenizer.json"))

    def texts_in_shards() -> list[str]:
        shards = open_stream(tmp_path / "corpus", "en")
        stream = shards.read(0, shards.num_tokens)
        edges = [0, *stream.starts.tolist(), shards.num_tokens]
        documents = [stream.tokens[a:b].tolist() for a, b in pairwise(edges)]
        assert all(tokens[-1] == tokenizer.end_of_text_id for tokens in documents)
        return [decoder.decode(tokens[:-1]) for tokens in documents]

    return texts_in_shards


def heldout(tmp_path: Path) -> list[str]:
    return read_heldout(tmp_path / "corpus" / "en")


# Held-out text


def test_every_document_is_trained_on_or_held_out_and_never_both(
    tmp_path: Path, build: Any, trained_on: Any
) -> None:
    texts = numbered(400)
    counts = build(listed(texts))
    assert sorted(trained_on() + heldout(tmp_path)) == sorted(texts)
    assert counts["documents"] == len(trained_on())
    assert counts["heldout_documents"] == len(heldout(tmp_path))
    assert 5 <= counts["heldout_documents"] <= 80
    assert counts["kept_out_of_training"] == 0


def test_counts_are_those_of_the_shards_and_of_the_text(
    tmp_path: Path, build: Any, trained_on: Any, tokenizer: DocumentTokenizer
) -> None:
    counts = build(listed([f"{text} Ώρα καλή." for text in numbered(200)]))
    assert counts["tokens"] == open_stream(tmp_path / "corpus", "en").num_tokens
    assert counts["bytes"] == sum(len(text.encode()) for text in trained_on())
    kept = heldout(tmp_path)
    assert counts["heldout_tokens"] == sum(len(tokens) for tokens in tokenizer.encode(kept))
    assert counts["heldout_bytes"] == sum(len(text.encode()) for text in kept)
    assert counts["broken"] == {}


def test_copies_of_a_held_out_document_are_kept_out_of_training_and_counted(
    tmp_path: Path, build: Any, trained_on: Any
) -> None:
    counts = build(listed(numbered(200) * 3))
    assert not set(trained_on()) & set(heldout(tmp_path))
    assert len(set(heldout(tmp_path))) == counts["heldout_documents"]
    assert counts["kept_out_of_training"] == 2 * counts["heldout_documents"]


def test_copies_in_another_source_are_kept_out_too(
    tmp_path: Path, build: Any, trained_on: Any
) -> None:
    kept = ["The text to score.", "Another text to score."]
    counts = build(listed(kept, "heldout"), listed([*kept, *numbered(20)], "train"))
    assert not set(trained_on()) & set(heldout(tmp_path))
    assert counts["kept_out_of_training"] == 2


def test_a_held_out_document_is_not_in_training_when_its_copy_comes_first(
    tmp_path: Path, build: Any, trained_on: Any
) -> None:
    kept = [f"The text number {n} to score." for n in range(20)]
    build(listed([*kept, *numbered(20)]), listed([*kept, "One more to score."], "heldout"))
    assert "One more to score." in heldout(tmp_path)
    assert not set(trained_on()) & set(heldout(tmp_path))


def test_the_split_of_the_source_is_respected(tmp_path: Path, build: Any, trained_on: Any) -> None:
    train, kept = numbered(100), ["The text to score.", "Another text to score."]
    build(listed(train, "train"), listed(kept, "heldout"))
    assert heldout(tmp_path) == kept
    assert trained_on() == train


def test_a_budget_bounds_what_is_held_out(
    tmp_path: Path, build: Any, trained_on: Any, tokenizer: DocumentTokenizer
) -> None:
    texts = numbered(600)
    longest = max(len(tokens) for tokens in tokenizer.encode(texts))
    counts = build(listed(texts), heldout_tokens=100)
    assert 100 <= counts["heldout_tokens"] < 100 + longest
    assert len(trained_on()) + len(heldout(tmp_path)) == 600


def test_held_out_documents_over_the_budget_are_still_not_trained_on(
    tmp_path: Path, build: Any, trained_on: Any
) -> None:
    kept = [f"The text number {n} to score." for n in range(30)]
    counts = build(listed(kept, "heldout"), listed(numbered(30), "train"), heldout_tokens=1)
    assert heldout(tmp_path) == kept[:1]
    assert trained_on() == numbered(30)
    assert counts["kept_out_of_training"] == 29


def test_two_builds_hold_out_the_same_documents(tmp_path: Path, tokenizer_folder: Path) -> None:
    found = []
    for name in ("first", "second"):
        build_corpus(
            corpus_of(listed(numbered(100))),
            languages=["en"],
            tokenizer=tokenizer_folder,
            heldout_tokens=MANY,
            folder=tmp_path / name,
        )
        found.append((tmp_path / name / "en" / "heldout.jsonl").read_bytes())
    assert found[0] == found[1]


def test_held_out_text_with_any_line_ends_reads_back(tmp_path: Path, build: Any) -> None:
    kept = ["a\nb", "c\r\nd", "e\u2028f\u0085g", '"quoted" \\ back']
    build(listed(kept, "heldout"), listed(numbered(3), "train"))
    assert heldout(tmp_path) == kept


# Broken records


def write_lines(path: Path, good: int, bad: Sequence[str]) -> None:
    lines = [json.dumps({"text": text}) for text in numbered(good)]
    lines[2:2] = bad
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


BAD = ['{"text": "cut', "[]", '{"text": 3}', '{"text": "cut again']


def test_more_broken_records_than_allowed_stop_with_reasons_and_places(
    tmp_path: Path, build: Any
) -> None:
    path = tmp_path / "a.jsonl"
    write_lines(path, 36, BAD)
    with pytest.raises(CorpusError) as caught:
        build(Files(path=str(path), languages=("en",), max_broken=0.05))
    message = str(caught.value)
    assert "4 of 40 records are broken" in message
    assert "2 x invalid JSON" in message
    assert "1 x not a JSON object" in message
    assert "0.05 (max_broken of the source)" in message
    assert f"{path}:3: invalid JSON" in message
    assert f"{path}:6: invalid JSON" in message
    assert '{"text": "cut again' in message
    assert "raise max_broken" in message


def test_fewer_broken_records_than_allowed_are_counted_and_the_rest_goes_on(
    tmp_path: Path, build: Any
) -> None:
    path = tmp_path / "a.jsonl"
    write_lines(path, 36, BAD)
    counts = build(Files(path=str(path), languages=("en",), max_broken=0.1))
    assert counts["documents"] + counts["heldout_documents"] == 36
    assert counts["broken"] == {
        "invalid JSON": 2,
        "not a JSON object": 1,
        "the value of 'text' is not a text": 1,
    }


@pytest.mark.parametrize("empty", ['{"text": ""}', '{"text": null}', '{"text": " "}'])
def test_empty_texts_are_counted_and_stop_nothing_while_most_are_filled(
    tmp_path: Path, build: Any, empty: str
) -> None:
    path = tmp_path / "a.jsonl"
    write_lines(path, 36, [empty] * 30)
    counts = build(Files(path=str(path), languages=("en",)))
    assert counts["broken"] == {"empty record": 30}
    assert counts["documents"] + counts["heldout_documents"] == 36
    write_lines(path, 36, [empty] * 37)
    with pytest.raises(CorpusError, match="37 of 73 records are broken"):
        build(Files(path=str(path), languages=("en",)))


def test_a_thousandth_is_allowed_to_be_broken_by_default(tmp_path: Path, build: Any) -> None:
    path = tmp_path / "a.jsonl"
    write_lines(path, 999, BAD[:1])
    assert build(Files(path=str(path), languages=("en",)))["broken"] == {"invalid JSON": 1}
    write_lines(path, 998, BAD[:1])
    with pytest.raises(CorpusError, match="1 of 999 records are broken"):
        build(Files(path=str(path), languages=("en",)))


def test_a_few_broken_records_are_shown_of_many(tmp_path: Path, build: Any) -> None:
    path = tmp_path / "a.jsonl"
    write_lines(path, 20, ["[]"] * 12)
    with pytest.raises(CorpusError) as caught:
        build(Files(path=str(path), languages=("en",)))
    assert "12 x not a JSON object" in str(caught.value)
    assert str(caught.value).count(str(path)) == 5


def test_broken_records_of_one_source_are_not_excused_by_another(
    tmp_path: Path, build: Any
) -> None:
    write_lines(tmp_path / "bad.jsonl", 10, BAD)
    bad = Files(path=str(tmp_path / "bad.jsonl"), languages=("en",), max_broken=0.01)
    with pytest.raises(CorpusError, match="4 of 14 records"):
        build(listed(numbered(1000)), bad)


def test_a_huge_broken_file_stops_before_its_end(tmp_path: Path, build: Any) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"{\n" * 30_000)
    with pytest.raises(CorpusError, match="10000 of 10000 records"):
        build(Files(path=str(path), languages=("en",)))


# Languages


def test_a_language_without_text_is_named(tmp_path: Path, build: Any) -> None:
    path = tmp_path / "blank.txt"
    path.write_text("\n \n\n", encoding="utf-8")
    with pytest.raises(CorpusError) as caught:
        build(Files(path=str(path), languages=("en",)))
    assert "en: 0 documents to train on and 0 held out" in str(caught.value)
    assert "Give more text" in str(caught.value)


def test_a_language_with_nothing_to_hold_out_is_told_how_to_go_on(build: Any) -> None:
    with pytest.raises(CorpusError, match="1 documents to train on and 0 held out"):
        build(listed(["Only one."], "train"))


def test_each_language_reads_only_the_sources_that_have_it(
    tmp_path: Path, tokenizer_folder: Path
) -> None:
    for code in ("el", "sw"):
        text = "\n".join(f"{line} ({code})" for line in numbered(100))
        (tmp_path / f"{code}.txt").write_text(text, encoding="utf-8")
    sources = [
        Files(path=str(tmp_path / "{language}.txt"), languages=("el", "sw")),
        Files(path=str(tmp_path / "sw.txt"), languages=("sw",)),
    ]
    said: list[tuple[str, int, int]] = []
    counts = build_corpus(
        corpus_of(*sources),
        languages=["el", "sw"],
        tokenizer=tokenizer_folder,
        heldout_tokens=MANY,
        folder=tmp_path / "corpus",
        report=lambda *step: said.append(step),
    )
    assert list(counts) == ["el", "sw"]
    assert counts["el"]["documents"] + counts["el"]["heldout_documents"] == 100
    both = counts["sw"]
    assert both["documents"] + both["heldout_documents"] + both["kept_out_of_training"] == 200
    assert all("(sw)" in text for text in read_heldout(tmp_path / "corpus" / "sw"))
    assert said[-1] == ("writing streams", 2, 2)
    assert said.count(("reading", 3, 3)) == 1
