from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from langraft.corpus.storage.shards import ShardWriter, TokenShards
from langraft.curriculum.index import MixtureIndex
from langraft.curriculum.loader import IGNORED, Batch, PackedLoader, pack_row
from langraft.curriculum.ramp import RampSchedule
from langraft.curriculum.schedule import MixtureSchedule
from thorough import examples

LENGTH = 16
LANGUAGES = ["en", "el", "sw"]
FIELDS = ("input_ids", "labels", "position_ids", "language_ids", "is_token")


def loader_of(shards: dict[str, TokenShards], seed: int = 0) -> PackedLoader:
    schedule = MixtureSchedule({"sw": 2, "el": 1, "en": 1})
    num_rows = {code: shards[code].num_tokens // LENGTH for code in schedule.streams}
    return PackedLoader(MixtureIndex(schedule, num_rows, seed, "extend"), shards, LANGUAGES, LENGTH)


def assert_equal(first: Batch, second: Batch) -> None:
    for field in FIELDS:
        assert torch.equal(getattr(first, field), getattr(second, field)), field


# One row


def test_a_row_of_two_documents_by_hand() -> None:
    tokens = np.array([11, 12, 13, 21, 22, 23, 24])
    input_ids, labels, positions, languages, is_token = pack_row(tokens, np.array([3]), 6, 4)
    assert input_ids.tolist() == [11, 12, 13, 21, 22, 23]
    assert labels.tolist() == [12, 13, IGNORED, 22, 23, 24]
    assert positions.tolist() == [0, 1, 2, 0, 1, 2]
    assert languages.tolist() == [4] * 6
    assert is_token.all()


def test_a_document_that_starts_right_after_the_row_gives_it_no_label() -> None:
    tokens = np.array([11, 12, 13, 21])
    _, labels, positions, _, _ = pack_row(tokens, np.array([3]), 3, 0)
    assert labels.tolist() == [12, 13, IGNORED]
    assert positions.tolist() == [0, 1, 2]


def test_what_is_missing_is_padded_without_labels_and_apart_from_the_text() -> None:
    tokens = np.array([11, 12, 13])
    row = pack_row(tokens, np.array([], dtype=np.int64), 6, 0)
    input_ids, labels, positions, _, is_token = row
    assert input_ids[:3].tolist() == [11, 12, 13]
    assert labels.tolist() == [12, 13, IGNORED, IGNORED, IGNORED, IGNORED]
    assert positions.tolist() == [0, 1, 2, 0, 1, 2]
    assert is_token.tolist() == [True] * 3 + [False] * 3


@settings(max_examples=examples(100))
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=12),
    length=st.integers(1, 20),
    data=st.data(),
)
def test_any_row_equals_a_plain_loop_over_its_documents(
    lengths: list[int], length: int, data: st.DataObject
) -> None:
    owners = [number for number, size in enumerate(lengths) for _ in range(size)]
    stream = list(range(100, 100 + len(owners)))
    start = data.draw(st.integers(0, len(stream) - 1))
    inside = range(start, min(start + length, len(stream)))

    wanted_labels, wanted_positions = [], []
    for at in inside:
        has_next = at + 1 < len(stream) and owners[at + 1] == owners[at]
        wanted_labels.append(stream[at + 1] if has_next else IGNORED)
        goes_on = at > start and owners[at - 1] == owners[at]
        wanted_positions.append(wanted_positions[-1] + 1 if goes_on else 0)

    tokens = np.array(stream[start : start + length + 1])
    firsts = [n for n in range(1, len(tokens)) if owners[start + n] != owners[start + n - 1]]
    row = pack_row(tokens, np.array(firsts, dtype=np.int64), length, 0)
    input_ids, labels, positions, _, _ = (part.tolist() for part in row)
    num_real = len(inside)
    assert input_ids[:num_real] == [stream[at] for at in inside]
    assert labels == wanted_labels + [IGNORED] * (length - num_real)
    assert positions[:num_real] == wanted_positions
    assert positions[num_real:] == list(range(length - num_real))


# Batches


def test_a_batch_is_whole_numbers_of_one_shape(shards: dict[str, TokenShards]) -> None:
    batch = loader_of(shards).rows(range(5))
    for field in FIELDS:
        assert getattr(batch, field).shape == (5, LENGTH)
        assert getattr(batch, field).dtype == (torch.bool if field == "is_token" else torch.int64)


def test_every_row_is_of_the_language_that_its_ids_say(shards: dict[str, TokenShards]) -> None:
    loader = loader_of(shards)
    batch = loader.rows(range(24))
    offsets = torch.tensor([0, 100, 200])
    assert torch.equal(batch.input_ids // 100 * 100, offsets[batch.language_ids])
    wanted = [LANGUAGES.index(loader.index.locate(n).stream) for n in range(24)]
    assert batch.language_ids[:, 0].tolist() == wanted
    assert set(wanted) == {0, 1, 2}


def test_labels_and_positions_keep_to_documents(shards: dict[str, TokenShards]) -> None:
    batch = loader_of(shards).rows(range(24))
    # Every token of a document is the same number here, and no two documents share one.
    is_labelled = batch.labels != IGNORED
    assert torch.equal(batch.labels[is_labelled], batch.input_ids[is_labelled])
    is_start = batch.position_ids == 0
    changes = batch.input_ids[:, 1:] != batch.input_ids[:, :-1]
    assert is_start[:, 0].all()
    assert torch.equal(is_start[:, 1:], changes)
    assert torch.equal(~is_labelled[:, :-1], changes)


def test_an_epoch_covers_every_whole_row_of_the_text(shards: dict[str, TokenShards]) -> None:
    schedule = MixtureSchedule({"sw": 1})
    num_rows = shards["sw"].num_tokens // LENGTH
    index = MixtureIndex(schedule, {"sw": num_rows}, 0, "extend")
    batch = PackedLoader(index, shards, LANGUAGES, LENGTH).rows(range(num_rows))
    stream = shards["sw"].read(0, num_rows * LENGTH).tokens
    assert sorted(batch.input_ids.flatten().tolist()) == sorted(stream.tolist())


def test_rows_come_from_seed_and_sample_alone(shards: dict[str, TokenShards]) -> None:
    used = loader_of(shards)
    used.rows(range(50))
    assert_equal(used.rows(range(7, 12)), loader_of(shards).rows(range(7, 12)))
    other = loader_of(shards, seed=1).rows(range(7, 12))
    assert not torch.equal(other.input_ids, used.rows(range(7, 12)).input_ids)


@pytest.mark.parametrize("num_ranks", [2, 4])
def test_the_parts_of_all_ranks_are_the_whole_batch(
    shards: dict[str, TokenShards], num_ranks: int
) -> None:
    whole = loader_of(shards).rows(range(16, 24))
    each = 8 // num_ranks
    parts = [
        loader_of(shards).rows(range(16 + rank * each, 16 + (rank + 1) * each))
        for rank in range(num_ranks)
    ]
    together = Batch(*(torch.cat([getattr(p, field) for p in parts]) for field in FIELDS))
    assert_equal(whole, together)


def test_documents_are_named_as_they_stand_in_the_rows(shards: dict[str, TokenShards]) -> None:
    loader = loader_of(shards)
    for sample in range(20):
        row = loader.rows(range(sample, sample + 1)).input_ids[0].tolist()
        language = loader.index.locate(sample).stream
        numbers = dict.fromkeys(token % 100 for token in row)
        wanted = [f"{language}/doc-{number}" for number in numbers]
        assert loader.documents(range(sample, sample + 1)) == wanted
    assert loader.documents(range(2)) == [
        *loader.documents(range(1)),
        *loader.documents(range(1, 2)),
    ]


def test_a_batch_moves_whole_to_another_device(shards: dict[str, TokenShards]) -> None:
    batch = loader_of(shards).rows(range(2)).to(torch.device("meta"))
    assert all(getattr(batch, field).is_meta for field in FIELDS)


# Pairs


def test_every_token_of_a_pair_has_the_id_of_its_own_language(tmp_path: Path) -> None:
    writer = ShardWriter(tmp_path, 300)
    for number in range(40):
        # Of document n the first five tokens are Swahili, the second language of the pair.
        tokens = np.array([200 + number] * 5 + [number] * (3 + number % 4))
        writer.add(tokens, f"pair-{number}", (tokens < 200).astype(np.uint8) ^ 1)
    writer.close()
    pairs = TokenShards(tmp_path)
    num_rows = pairs.num_tokens // LENGTH
    index = MixtureIndex(MixtureSchedule({"en+sw": 1}), {"en+sw": num_rows}, 0, "extend")
    batch = PackedLoader(index, {"en+sw": pairs}, LANGUAGES, LENGTH).rows(range(num_rows))
    english, swahili = LANGUAGES.index("en"), LANGUAGES.index("sw")
    assert torch.equal(batch.language_ids == swahili, batch.input_ids >= 200)
    assert torch.equal(batch.language_ids == english, batch.input_ids < 200)


def test_a_row_may_have_a_language_for_each_token() -> None:
    tokens = np.array([11, 12, 13])
    row = pack_row(tokens, np.array([], dtype=np.int64), 5, np.array([4, 7, 7]))
    assert row[3].tolist() == [4, 7, 7, 4, 4]


# Ramps


def test_a_ramp_goes_on_in_the_middle_as_if_it_had_never_stopped(
    shards: dict[str, TokenShards],
) -> None:
    def loader() -> PackedLoader:
        schedule = RampSchedule({"sw": 3, "el": 1}, {"sw": 1, "en": 2}, 60)
        num_rows = {code: shards[code].num_tokens // LENGTH for code in schedule.streams}
        return PackedLoader(MixtureIndex(schedule, num_rows, 0, "x"), shards, LANGUAGES, LENGTH)

    whole = loader().rows(range(60))
    for start in (1, 29, 30, 59):
        rest = loader().rows(range(start, 60))
        assert_equal(rest, Batch(*(getattr(whole, field)[start:] for field in FIELDS)))
