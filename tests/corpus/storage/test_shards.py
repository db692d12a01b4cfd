from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langraft.core.errors import ArtifactError
from langraft.corpus.storage.shards import ShardWriter, TokenShards
from thorough import examples

VOCAB = 50
DOCUMENTS = st.lists(
    st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=9), min_size=1, max_size=12
)


def write(
    folder: Path, documents: list[list[int]], *, vocab: int = VOCAB, shard_tokens: int = 7
) -> ShardWriter:
    writer = ShardWriter(folder, vocab, shard_tokens)
    for number, document in enumerate(documents):
        writer.add(np.array(document, dtype=np.int64), f"έγγραφο {number}")
    writer.close()
    return writer


def test_documents_come_back_end_to_end_from_several_shards(tmp_path: Path) -> None:
    documents = [[1, 2, 3], [4], [5, 6, 7, 8], [9, 9]]
    writer = write(tmp_path, documents, shard_tokens=4)
    shards = TokenShards(tmp_path)
    assert writer.num_shards == 3
    assert shards.num_tokens == writer.num_tokens == 10
    assert writer.num_documents == 4
    span = shards.read(0, 10)
    assert span.tokens.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 9]
    assert span.starts.tolist() == [3, 4, 8]


@settings(max_examples=examples(60))
@given(
    documents=DOCUMENTS,
    shard_tokens=st.integers(1, 30),
    start=st.integers(0, 60),
    length=st.integers(0, 40),
)
def test_any_span_equals_that_of_the_concatenated_stream(
    documents: list[list[int]], shard_tokens: int, start: int, length: int
) -> None:
    stream = [token for document in documents for token in document]
    owners = [number for number, document in enumerate(documents) for _ in document]
    firsts = np.cumsum([0, *(len(document) for document in documents)])[:-1].tolist()
    with tempfile.TemporaryDirectory() as name:
        write(Path(name), documents, shard_tokens=shard_tokens)
        shards = TokenShards(Path(name))
        span = shards.read(start, start + length)
        names = shards.document_ids(start, start + length)
    assert shards.num_tokens == len(stream)
    assert span.tokens.tolist() == stream[start : start + length]
    end = min(start + length, len(stream))
    assert span.starts.tolist() == [first - start for first in firsts if start < first < end]
    owned = list(dict.fromkeys(owners[start : start + length]))
    assert names == [f"έγγραφο {number}" for number in owned]


@settings(max_examples=examples(25))
@given(documents=DOCUMENTS, shard_tokens=st.integers(1, 30))
def test_every_token_of_the_vocabulary_is_counted(
    documents: list[list[int]], shard_tokens: int
) -> None:
    with tempfile.TemporaryDirectory() as name:
        write(Path(name), documents, shard_tokens=shard_tokens)
        counts = TokenShards(Path(name)).token_counts
    stream = [token for document in documents for token in document]
    assert counts.tolist() == [stream.count(token) for token in range(VOCAB)]


def test_a_small_vocabulary_takes_two_bytes_a_token_and_a_large_one_four(tmp_path: Path) -> None:
    for vocab, size in ((2**16, 2), (2**16 + 1, 4)):
        folder = tmp_path / str(vocab)
        write(folder, [[0, vocab - 1]], vocab=vocab)
        assert np.load(folder / "00000.tokens.npy").itemsize == size
        assert TokenShards(folder).read(0, 2).tokens.tolist() == [0, vocab - 1]


def test_a_document_longer_than_a_shard_stays_in_one(tmp_path: Path) -> None:
    document = list(range(30))
    assert write(tmp_path, [document, [1]], shard_tokens=4).num_shards == 2
    assert TokenShards(tmp_path).read(0, 30).tokens.tolist() == document


def test_a_folder_without_shards_says_which_step_to_run(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"holds no token shards.*corpus step"):
        TokenShards(tmp_path)


@pytest.mark.parametrize("name", ["00001.tokens.npy", "00000.starts.npy", "00002.ids.npy"])
@pytest.mark.parametrize("damage", ["cut", "empty", "garbage"])
def test_a_damaged_shard_names_its_folder_and_the_way_out(
    tmp_path: Path, name: str, damage: str
) -> None:
    write(tmp_path, [[1] * 200] * 3)
    path = tmp_path / name
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[:-4], "empty": b"", "garbage": b"x" * len(whole)}[damage])
    with pytest.raises(ArtifactError) as caught:
        TokenShards(tmp_path)
    assert f"The token shards in {tmp_path} are damaged" in str(caught.value)
    assert "Delete the corpus folder" in str(caught.value)


@pytest.mark.parametrize("name", ["00001.starts.npy", "00000.ids.npy", "token_counts.npy"])
def test_a_missing_part_of_a_shard_is_damage(tmp_path: Path, name: str) -> None:
    write(tmp_path, [[1] * 20] * 3)
    (tmp_path / name).unlink()
    with pytest.raises(ArtifactError, match="damaged"):
        TokenShards(tmp_path)
