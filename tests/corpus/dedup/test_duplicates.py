from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from langraft.core.settings.corpus import Deduplication
from langraft.corpus.dedup.duplicates import find_duplicates
from langraft.corpus.dedup.minhash import band_keys, shorten, signatures
from langraft.corpus.storage.arrays import ArrayFile
from langraft.corpus.text_batch import TextBatch

DEFAULTS = Deduplication()


def words(number: int, seed: int) -> list[str]:
    generator = random.Random(seed)
    return [f"w{generator.randrange(10**6)}" for _ in range(number)]


def shingles(text: list[str]) -> set[tuple[str, ...]]:
    return set(zip(*(text[n:] for n in range(5)), strict=False))


def similarity(one: list[str], other: list[str]) -> float:
    a, b = shingles(one), shingles(other)
    return len(a & b) / len(a | b)


def write_part(folder: Path, texts: list[str], language: str = "en") -> Path:
    folder.mkdir()
    batch = TextBatch(texts, language)
    found = signatures(batch, DEFAULTS)
    np.save(folder / "hashes.npy", np.array([hash(text) % 2**64 for text in texts], np.uint64))
    np.save(folder / "bands.npy", band_keys(found, DEFAULTS))
    np.save(folder / "signatures.npy", shorten(found))
    return folder


@pytest.mark.parametrize("length", [12, 60, 400])
@pytest.mark.parametrize("changed", [0.0, 0.05, 0.3])
def test_signatures_estimate_the_similarity_of_texts(length: int, changed: float) -> None:
    errors = []
    for seed in range(60):
        one = words(length, seed)
        other = list(one)
        for place in random.Random(seed).sample(range(length), int(changed * length)):
            other[place] = "changed"
        found = signatures(TextBatch([" ".join(one), " ".join(other)], "en"), DEFAULTS)
        errors.append((found[0] == found[1]).mean() - similarity(one, other))
    assert abs(np.mean(errors)) < 0.03
    assert np.abs(errors).max() < 0.25


def test_a_text_shorter_than_a_shingle_resembles_only_itself() -> None:
    texts = ["Good day", "good day!", "Good night", "", "..."]
    found = signatures(TextBatch(texts, "en"), DEFAULTS)
    assert (found[0] == found[1]).all()
    assert (found[0] == found[2]).mean() < 0.2
    assert (found[3] == found[4]).all()


def test_the_first_of_several_copies_stays(tmp_path: Path) -> None:
    one, two = " ".join(words(80, 1)), " ".join(words(80, 2))
    near = one + " and a few more words"
    parts = [
        write_part(tmp_path / "0", [one, two, one]),
        write_part(tmp_path / "1", [near, two, "something else"]),
    ]
    exact, similar = find_duplicates(parts, DEFAULTS)
    assert exact.tolist() == [-1, -1, 0, -1, 1, -1]
    assert similar.tolist() == [-1, -1, -1, 0, -1, -1]


def test_without_a_similarity_only_exact_copies_go(tmp_path: Path) -> None:
    text = " ".join(words(80, 1))
    part = write_part(tmp_path / "0", [text, text + " more", text])
    exact, near = find_duplicates([part], Deduplication(similarity=None))
    assert exact.tolist() == [-1, -1, 0]
    assert near.tolist() == [-1, -1, -1]


def test_nearly_all_edited_copies_are_found_and_no_others(tmp_path: Path) -> None:
    originals = [words(300, seed) for seed in range(200)]
    edited = []
    for seed, text in enumerate(originals):
        copy = list(text)
        for place in random.Random(seed).sample(range(300), 3):
            copy[place] = "changed"
        edited.append(copy)
    texts = [
        " ".join(text) for text in [*originals, *edited, *(words(300, 900 + n) for n in range(200))]
    ]
    _, near = find_duplicates([write_part(tmp_path / "0", texts)], DEFAULTS)
    assert all(similarity(a, b) > 0.85 for a, b in zip(originals, edited, strict=True))
    found = np.flatnonzero(near >= 0)
    assert set(found) <= set(range(200, 400))
    assert len(found) >= 195
    assert (near[found] == found - 200).all()


def test_texts_without_words_are_no_copies_of_each_other(tmp_path: Path) -> None:
    exact, near = find_duplicates([write_part(tmp_path / "0", ["!!!", "???", "..."])], DEFAULTS)
    assert exact.max() == near.max() == -1


@pytest.mark.parametrize("shape", [(), (3,)])
def test_an_array_that_grew_reads_as_one_that_was_saved(tmp_path: Path, shape: Any) -> None:
    rows = np.arange(4 * 3 if shape else 4).reshape(4, *shape)
    file = ArrayFile(tmp_path / "grown.npy", np.int64, shape)
    file.append(rows[:1])
    file.append(rows[1:])
    file.close()
    np.save(tmp_path / "saved.npy", rows)
    assert (np.load(tmp_path / "grown.npy", mmap_mode="r") == rows).all()
    ArrayFile(tmp_path / "empty.npy", np.int64, shape).close()
    assert np.load(tmp_path / "empty.npy").shape == (0, *shape)
