"""Streams, budgets and cleaning through the whole corpus step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from langraft.core.errors import CorpusError
from langraft.core.settings.corpus import Corpus, Deduplication
from langraft.corpus.build import build_corpus
from langraft.corpus.cleaning import Cleaner
from langraft.corpus.counts import Drops
from langraft.corpus.engines.local import Local
from langraft.corpus.filter import AbstractFilter, Judge, Rejection
from langraft.corpus.filters.quality import Quality
from langraft.corpus.filters.repair import Repair
from langraft.corpus.part_task import PartTask
from langraft.corpus.sources.files import Files
from langraft.corpus.sources.parallel import Parallel
from langraft.corpus.storage.shards import open_stream
from langraft.corpus.text_batch import TextBatch
from langraft.tokenizers.document_tokenizer import DocumentTokenizer


def write(path: Path, texts: list[str]) -> None:
    lines = (json.dumps({"text": text}, ensure_ascii=False) for text in texts)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def numbered(count: int, word: str = "document") -> list[str]:
    return [f"This is the {word} of number {n} and of no other number." for n in range(count)]


def build(folder: Path, tokenizer: Path, *sources: Any, **keys: Any) -> dict[str, Any]:
    corpus = Corpus(sources=sources, engine=Local(), **keys)
    languages = list(dict.fromkeys(code for source in sources for code in source.languages))
    return build_corpus(
        corpus, languages=languages, tokenizer=tokenizer, heldout_tokens=300, folder=folder
    )


# Budgets


def test_a_budget_is_kept_for_each_source_alone(tmp_path: Path, tokenizer_folder: Path) -> None:
    write(tmp_path / "a.jsonl", numbered(400))
    write(tmp_path / "b.jsonl", numbered(100, "page"))
    counts = build(
        tmp_path / "corpus",
        tokenizer_folder,
        Files(path=str(tmp_path / "a.jsonl"), languages=("en",), label="a", tokens=2000),
        Files(path=str(tmp_path / "b.jsonl"), languages=("en",), label="b"),
    )["en"]
    longest = 60
    assert 2000 <= counts["sources"]["a"]["tokens"] < 2000 + longest
    assert counts["sources"]["b"]["over_budget"] == 0
    whole = open_stream(tmp_path / "corpus", "en")
    parts = [open_stream(tmp_path / "corpus", f"en/{label}") for label in "ab"]
    assert whole.num_tokens == sum(part.num_tokens for part in parts) == counts["tokens"]
    assert (whole.token_counts == sum(part.token_counts for part in parts)).all()


def test_reading_stops_when_the_budget_is_met(
    tmp_path: Path, tokenizer_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("langraft.corpus.source.PART_BYTES", 1)  # each file is a part
    for number in range(40):
        write(tmp_path / f"{number:02d}.jsonl", numbered(60, f"page{number}"))
    read: list[str] = []
    write_part = PartTask._write
    monkeypatch.setattr(
        PartTask,
        "_write",
        lambda task, folder: read.append(task.part.name) or write_part(task, folder),
    )
    source = Files(path=str(tmp_path / "*.jsonl"), languages=("en",), tokens=5000)
    counts = build(tmp_path / "corpus", tokenizer_folder, source)["en"]
    assert 5000 <= counts["tokens"] < 5100
    assert len(read) == 16


# Pairs


def test_a_token_of_a_pair_knows_its_language(
    tmp_path: Path, tokenizer_folder: Path, tokenizer: DocumentTokenizer
) -> None:
    pairs = [
        {"en": f"The house number {n} is white.", "el": f"Το σπίτι αριθμός {n} είναι άσπρο."}
        for n in range(60)
    ]
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(map(json.dumps, pairs)), encoding="utf-8")
    write(tmp_path / "en.jsonl", numbered(60))
    write(tmp_path / "el.jsonl", [f"Το κείμενο {n} είναι ελληνικό." for n in range(60)])
    counts = build(
        tmp_path / "corpus",
        tokenizer_folder,
        Files(path=str(tmp_path / "{language}.jsonl"), languages=("en", "el")),
        Parallel(path=str(path), languages=("en", "el")),
    )
    assert list(counts) == ["en", "el", "en+el"]
    assert counts["en+el"]["documents"] == 60
    assert counts["en+el"]["heldout_documents"] == 0
    span = open_stream(tmp_path / "corpus", "en+el").read(0, counts["en+el"]["tokens"])
    assert span.languages is not None
    greek = tokenizer.decode(span.tokens[span.languages == 1])
    english = tokenizer.decode(span.tokens[span.languages == 0])
    assert greek.count("σπίτι") == english.count("house") == 60
    assert "house" not in greek
    assert "σπίτι" not in english


def test_pairs_are_deduplicated_and_not_filtered(tmp_path: Path, tokenizer_folder: Path) -> None:
    pair = {"en": "The house is white.", "el": "Το σπίτι είναι άσπρο."}
    (tmp_path / "pairs.jsonl").write_text("\n".join([json.dumps(pair)] * 5), encoding="utf-8")
    write(tmp_path / "text.jsonl", [" ".join(numbered(20, f"tale{n}")) for n in range(60)])
    counts = build(
        tmp_path / "corpus",
        tokenizer_folder,
        Files(path=str(tmp_path / "text.jsonl"), languages=("en", "el")),
        Parallel(path=str(tmp_path / "pairs.jsonl"), languages=("en", "el")),
        filters=(Quality(min_words=50),),
        deduplicate=Deduplication(similarity=None),
    )
    assert counts["en+el"]["documents"] == 1
    dropped = counts["en+el"]["sources"]["parallel"]["dropped"]
    assert {reason: found["documents"] for reason, found in dropped.items()} == {"exact copy": 4}


# Cleaning


class Shouts(AbstractFilter):
    """Writes everything in capitals; drops what it shouted already."""

    name: str = "shouts"

    def make_judge(self, language: str) -> Judge:
        del language

        def judge(batch: TextBatch) -> list[str | Rejection]:
            return [Rejection("loud", t) if t.isupper() else t.upper() for t in batch]

        return judge


def clean(texts: list[str], *filters: AbstractFilter) -> tuple[list[str], Drops]:
    from langraft.core.document import Document

    drops = Drops()
    cleaner = Cleaner(filters, "en", drops)
    documents = [Document(text=t, language="en", id=f"{n}") for n, t in enumerate(texts)]
    found = cleaner.clean(documents)
    kept = [document.text for document in found.documents]
    assert kept == [found.texts.texts[position] for position in found.positions]
    return kept, drops


def test_filters_see_what_earlier_ones_mended() -> None:
    kept, drops = clean(["a\x00b  c", "X", "d"], Repair(), Shouts(), Shouts())
    assert kept == []
    assert drops.documents == {"shouts: loud": 3}
    assert [e.id for e in drops.examples["shouts: loud"]] == ["1", "0", "2"]


def test_a_document_leaves_for_the_first_reason_alone() -> None:
    texts = ["Few words.", "\x00", " ".join(numbered(8))]
    kept, drops = clean(texts, Quality(), Repair(), Quality(min_words=9999))
    assert kept == []
    assert drops.documents == {"quality: too few words": 3}
    kept, drops = clean(texts, Repair(), Quality())
    assert kept == texts[2:]
    assert drops.documents == {
        "repair: nothing is left after repairs": 1,
        "quality: too few words": 1,
    }
    assert drops.bytes["quality: too few words"] == len("Few words.")


def test_everything_dropped_says_why(tmp_path: Path, tokenizer_folder: Path) -> None:
    write(tmp_path / "a.jsonl", numbered(50))
    source = Files(path=str(tmp_path / "a.jsonl"), languages=("en",))
    with pytest.raises(CorpusError, match=r"0 held out .*Dropped: 50 x quality: too few words"):
        build(tmp_path / "corpus", tokenizer_folder, source, filters=(Quality(),))


def test_what_comes_in_is_what_stays_and_what_leaves(
    tmp_path: Path, tokenizer_folder: Path
) -> None:
    texts = [*(" ".join(numbered(8, f"tale{n}")) for n in range(80)), "short", "short"]
    write(tmp_path / "a.jsonl", [*texts, *texts[:7]])
    source = Files(path=str(tmp_path / "a.jsonl"), languages=("en",))
    counts = build(
        tmp_path / "corpus",
        tokenizer_folder,
        source,
        filters=(Quality(),),
        deduplicate=Deduplication(),
    )["en"]
    of_source = counts["sources"]["files"]
    left = sum(found["documents"] for found in of_source["dropped"].values())
    stayed = counts["documents"] + counts["heldout_documents"] + counts["kept_out_of_training"]
    assert counts["read_documents"] == 89 == left + stayed
    left_bytes = sum(found["bytes"] for found in of_source["dropped"].values())
    assert counts["read_bytes"] == left_bytes + counts["bytes"] + counts["heldout_bytes"]
    of_tokens = np.load(tmp_path / "corpus" / "en" / "files" / "token_counts.npy")
    assert of_tokens.sum() == counts["tokens"]
