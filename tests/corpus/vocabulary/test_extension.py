from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import AutoTokenizer

from langraft.core.errors import ArtifactError, CorpusError, ModelError
from langraft.corpus.tokenizer import DocumentTokenizer, train_tokenizer
from langraft.corpus.vocabulary.base import BaseVocabulary
from langraft.corpus.vocabulary.extension import Extension, extend_tokenizer
from langraft.corpus.vocabulary.merges import MergeLimits, Word, WordTable, learn_merges

GREEK = "το σπίτι είναι δίπλα στο ποτάμι και ο γέρος περπατά στον δρόμο κάθε πρωί. "
GEORGIAN = "სახლი მდინარესთან დგას და მოხუცი ყოველ დილით გზაზე დადის. "
ENGLISH = "the house stands by the river and the old man walks along the road every morning. "
TEXTS = {"el": [GREEK * 3, "το ποτάμι 1984, ο δρόμος 1821."], "ka": [GEORGIAN * 3]}
ROWS = 330  # embedding rows of the base: more than its tokenizer has entries


def byte_level(folder: Path) -> Path:
    folder.mkdir()
    train_tokenizer([ENGLISH] * 20, 300, folder)
    return folder


def ignoring_merges(folder: Path) -> Path:
    """As Llama 3: a word that is in the vocabulary is its token, whatever the merges say."""
    path = byte_level(folder) / "tokenizer.json"
    found = json.loads(path.read_text("utf-8"))
    found["model"]["ignore_merges"] = True
    path.write_text(json.dumps(found), "utf-8")
    return folder


def with_added_tokens(folder: Path) -> Path:
    """As Qwen: added tokens have ids after the vocabulary, which alone does not hold them."""
    path = str(byte_level(folder) / "tokenizer.json")
    tokenizer = Tokenizer.from_file(path)
    tokenizer.add_special_tokens(["<|user|>"])
    tokenizer.add_tokens([AddedToken("   ", normalized=False)])
    tokenizer.save(path)
    return folder


def with_byte_fallback(folder: Path) -> Path:
    """As Llama 2: characters, bytes for those it lacks, and words told apart by ▁ alone."""
    folder.mkdir()
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    letters = sorted({*ENGLISH.replace(" ", "▁"), *"0123456789,"})
    vocab = {token: number for number, token in enumerate(["</s>", *map(_byte, range(256))])}
    vocab |= {letter: len(vocab) + number for number, letter in enumerate(letters)}
    merges = [("t", "h"), ("th", "e"), ("▁", "the"), ("▁", "s")]
    vocab |= {"".join(merge): len(vocab) + number for number, merge in enumerate(merges)}
    tokenizer.model = models.BPE(vocab=vocab, merges=merges, byte_fallback=True, fuse_unk=True)
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(content=" ", left=1),
        ]
    )
    tokenizer.add_special_tokens(["</s>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")
    return folder


def _byte(number: int) -> str:
    return f"<0x{number:02X}>"


KINDS: dict[str, Callable[[Path], Path]] = {
    "byte_level": byte_level,
    "ignoring_merges": ignoring_merges,
    "with_added_tokens": with_added_tokens,
    "with_byte_fallback": with_byte_fallback,
}


@pytest.fixture(scope="module", params=list(KINDS))
def folders(request: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the folder of a base and of its extension, for each kind of tokenizer."""
    home = tmp_path_factory.mktemp("extension")
    base = KINDS[request.param](home / "base")
    (base / "config.json").write_text(json.dumps({"vocab_size": ROWS, "eos_token_id": 0}), "utf-8")
    extend_tokenizer(base, home / "extended", texts=TEXTS, num_new_tokens=120)
    return base, home / "extended"


def encode(folder: Path, text: str) -> list[int]:
    return Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text).ids


def test_new_ids_begin_after_the_last_embedding_row(folders: tuple[Path, Path]) -> None:
    _, extended = folders
    extension = Extension.read(extended)
    assert extension.first_new_id == ROWS
    vocabulary = BaseVocabulary(extended / "tokenizer.json")
    ids = [vocabulary.ids[token] for token in extension.tokens]
    assert ids == list(range(ROWS, ROWS + len(ids)))
    assert len(ids) > 50


def test_every_new_token_is_reached_by_the_text_it_was_learned_from(
    folders: tuple[Path, Path],
) -> None:
    """Encode with one merge less each time: the token of the last merge must be there."""
    _, extended = folders
    settings = json.loads((extended / "tokenizer.json").read_text("utf-8"))
    extension = Extension.read(extended)
    settings["model"]["ignore_merges"] = False
    merges = settings["model"]["merges"]
    joined = {"".join(merge.split(" ") if isinstance(merge, str) else merge) for merge in merges}
    num_characters = len([token for token in extension.tokens if token not in joined])
    num_old = len(merges) - len(extension.tokens) + num_characters
    texts = [text for found in TEXTS.values() for text in found]
    for number, token in enumerate(extension.tokens):
        is_character = token not in joined
        last = num_old if is_character else num_old + number - num_characters + 1
        settings["model"]["merges"] = merges[:last]
        tokenizer = Tokenizer.from_str(json.dumps(settings))
        found = {i for text in texts for i in tokenizer.encode(text).ids}
        assert ROWS + number in found, token


def test_a_new_token_spells_what_its_old_pieces_spell(folders: tuple[Path, Path]) -> None:
    base, extended = folders
    old, new = (BaseVocabulary(folder / "tokenizer.json") for folder in folders)
    extension = Extension.read(extended)
    assert base != extended
    for token, pieces in zip(extension.tokens, extension.pieces, strict=True):
        assert max(pieces) < ROWS
        if old.is_byte_level:
            assert token == "".join(old.spelled[piece] for piece in pieces)
        else:
            decoder = Tokenizer.from_file(str(base / "tokenizer.json"))
            assert decoder.decode(list(pieces)).strip() == new.text_of(token).strip()


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_any_text_keeps_its_old_cut_or_holds_a_new_token_and_decodes_alike(
    folders: tuple[Path, Path], data: st.DataObject
) -> None:
    base, extended = folders
    alphabet = st.sampled_from([*GREEK.split(), *GEORGIAN.split(), *ENGLISH.split(), "   ", "19"])
    parts = st.lists(st.one_of(st.text(max_size=6), alphabet), max_size=8)
    text = data.draw(st.sampled_from(["", " "])).join(data.draw(parts))
    before, after = encode(base, text), encode(extended, text)
    if max(after, default=0) < ROWS:
        assert after == before
    pieces = dict(enumerate(Extension.read(extended).pieces, start=ROWS))
    assert [i for token in after for i in pieces.get(token, (token,))] == before or (
        len(after) < len(before)
    )
    old, new = (Tokenizer.from_file(str(folder / "tokenizer.json")) for folder in folders)
    assert new.decode(after) == old.decode(before)


def test_new_languages_take_fewer_tokens_and_english_as_many(folders: tuple[Path, Path]) -> None:
    base, extended = folders
    assert encode(extended, ENGLISH) == encode(base, ENGLISH)
    for text in (GREEK, GEORGIAN):
        assert len(encode(extended, text)) < 0.6 * len(encode(base, text))


def test_numbers_stay_cut_into_digits_and_words_apart(folders: tuple[Path, Path]) -> None:
    _, extended = folders
    vocabulary = BaseVocabulary(extended / "tokenizer.json")
    for token in Extension.read(extended).tokens:
        text = vocabulary.text_of(token)
        assert not any(c.isdecimal() for c in text), text
        assert " " not in text[1:], text


def test_transformers_and_document_tokenizer_cut_alike(folders: tuple[Path, Path]) -> None:
    _, extended = folders
    loaded, ours = AutoTokenizer.from_pretrained(extended), DocumentTokenizer(extended)
    for text in (GREEK, GEORGIAN, ENGLISH, "a   b"):
        expected = encode(extended, text)
        assert loaded(text).input_ids == expected
        assert ours.encode([text])[0].tolist() == [*expected, ours.end_of_text_id]
    assert ours.vocab_size == ROWS + len(Extension.read(extended).tokens)


def test_added_tokens_keep_their_ids(tmp_path: Path) -> None:
    base = with_added_tokens(tmp_path / "base")
    extend_tokenizer(base, tmp_path / "out", texts=TEXTS, num_new_tokens=30)
    text = f"{GREEK}<|user|>   <|endoftext|>"
    old, new = (Tokenizer.from_file(str(f / "tokenizer.json")) for f in (base, tmp_path / "out"))
    for token in ("<|user|>", "   ", "<|endoftext|>"):
        assert new.token_to_id(token) == old.token_to_id(token)
    assert new.encode(text).ids[-3:] == old.encode(text).ids[-3:]


def test_a_language_counts_as_its_share_however_much_text_it_has(tmp_path: Path) -> None:
    base = byte_level(tmp_path / "base")
    texts = {"el": [GREEK] * 500, "ka": [GEORGIAN] * 5}

    def georgian(shares: dict[str, float], name: str) -> int:
        extend_tokenizer(base, tmp_path / name, texts=texts, num_new_tokens=40, shares=shares)
        return sum("á" in token for token in Extension.read(tmp_path / name).tokens)

    assert georgian({"el": 1, "ka": 0.01}, "greek") < 5
    assert 10 < georgian({"el": 1, "ka": 1}, "even") < 30
    assert georgian({"el": 0.01, "ka": 1}, "georgian") > 35


def test_merges_that_original_text_would_use_are_not_learned(tmp_path: Path) -> None:
    base = byte_level(tmp_path / "base")
    new, original = ["wamba zinc wamba"] * 20, ["the quality of zinc"] * 20
    free = extend_tokenizer(base, tmp_path / "a", texts={"sw": new}, num_new_tokens=20)
    kept = extend_tokenizer(
        base,
        tmp_path / "b",
        texts={"sw": new},
        num_new_tokens=20,
        original_texts={"en": original},
    )
    assert "Ġzinc" in free.tokens
    assert "Ġzinc" not in kept.tokens
    assert "Ġwamba" in kept.tokens
    assert encode(tmp_path / "b", original[0]) == encode(base, original[0])


def test_equal_input_gives_equal_files(tmp_path: Path) -> None:
    base = byte_level(tmp_path / "base")
    for name in ("a", "b"):
        extend_tokenizer(base, tmp_path / name, texts=TEXTS, num_new_tokens=60)
    for name in ("tokenizer.json", "extension.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@settings(deadline=None)
@given(st.lists(st.tuples(st.text("abc", min_size=1, max_size=9), st.integers(1, 4)), max_size=8))
def test_merges_are_those_of_counting_all_pairs_anew(words: list[tuple[str, int]]) -> None:
    limits = MergeLimits(least_count=2)
    ids = {"a": 0, "b": 1, "c": 2}

    def namer() -> tuple[dict[int, str], Any]:
        spelled = {number: letter for letter, number in ids.items()}

        def name(left: int, right: int) -> int | None:
            spelling = spelled[left] + spelled[right]
            if spelling in spelled.values():
                return None
            spelled[len(spelled)] = spelling
            return len(spelled) - 1

        return spelled, name

    spelled, name = namer()
    table = WordTable(Word([ids[c] for c in text], count, count) for text, count in words)
    found = learn_merges(table, 5, name, limits)

    expected_spelled, name = namer()
    left = [([ids[c] for c in text], count) for text, count in words]
    merges: list[tuple[int, int, int]] = []
    banned = set[tuple[int, int]]()
    while len(merges) < 5:
        counts: dict[tuple[int, int], int] = {}
        for tokens, count in left:
            for pair in itertools.pairwise(tokens):
                counts[pair] = counts.get(pair, 0) + count
        best = (
            min((-n, p) for p, n in counts.items() if p not in banned)
            if set(counts) - banned
            else (0, (0, 0))
        )
        if -best[0] < limits.least_count:
            break
        token = name(*best[1])
        if token is None:
            banned.add(best[1])
            continue
        merges.append((*best[1], token))
        left = [(replaced(tokens, best[1], token), count) for tokens, count in left]
    assert [(m.left, m.right, m.token) for m in found] == merges
    assert spelled == expected_spelled


def replaced(tokens: list[int], pair: tuple[int, int], token: int) -> list[int]:
    after: list[int] = []
    while tokens:
        size = 2 if tuple(tokens[:2]) == pair else 1
        after.append(token if size == 2 else tokens[0])
        tokens = tokens[size:]
    return after


# Refused


def test_what_cannot_be_extended_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "unigram"
    folder.mkdir()
    library = Tokenizer(models.Unigram([("<unk>", 0.0), ("a", -1.0)], unk_id=0))
    library.save(str(folder / "tokenizer.json"))
    with pytest.raises(ModelError, match=r"its model is Unigram, not BPE.*Llama 2"):
        extend_tokenizer(folder, tmp_path / "out", texts=TEXTS, num_new_tokens=9)
    library = Tokenizer(models.BPE(vocab={"a": 0, "b": 1, "ab": 2}, merges=[("a", "b")]))
    library.pre_tokenizer = pre_tokenizers.Whitespace()
    library.save(str(folder / "tokenizer.json"))
    with pytest.raises(ModelError, match="neither all bytes nor falls back"):
        extend_tokenizer(folder, tmp_path / "out", texts=TEXTS, num_new_tokens=9)


def test_a_second_extension_is_refused(folders: tuple[Path, Path], tmp_path: Path) -> None:
    _, extended = folders
    with pytest.raises(ModelError, match="extended already; a model holds one extension"):
        extend_tokenizer(extended, tmp_path / "out", texts=TEXTS, num_new_tokens=9)


def test_text_without_words_or_new_tokens_is_refused(tmp_path: Path) -> None:
    base = byte_level(tmp_path / "base")
    with pytest.raises(CorpusError, match="ka: there is no text"):
        extend_tokenizer(base, tmp_path / "out", texts={"ka": []}, num_new_tokens=9)
    with pytest.raises(CorpusError, match="The text gives no new token"):
        extend_tokenizer(base, tmp_path / "out", texts={"ka": ["q"]}, num_new_tokens=9)


def test_a_tokenizer_larger_than_its_model_is_refused(tmp_path: Path) -> None:
    base = byte_level(tmp_path / "base")
    (base / "config.json").write_text('{"vocab_size": 200}', "utf-8")
    with pytest.raises(ModelError, match="the model 200 embedding rows"):
        extend_tokenizer(base, tmp_path / "out", texts=TEXTS, num_new_tokens=9)


def test_a_damaged_extension_says_so(folders: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "extension.json").write_text('{"format": 1}', "utf-8")
    with pytest.raises(ArtifactError, match="no extension of this version"):
        Extension.read(tmp_path)
