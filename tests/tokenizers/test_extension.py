from __future__ import annotations

import itertools
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from langraft.core.errors import ArtifactError, CorpusError, ModelError
from langraft.tokenizers.document_tokenizer import DocumentTokenizer
from langraft.tokenizers.extension import Extension, extend_tokenizer
from langraft.tokenizers.merges import MIN_COUNT, Word, WordTable, learn_merges
from langraft.tokenizers.training import train_tokenizer
from langraft.tokenizers.vocabulary import BYTE_OF_CHARACTER, BaseVocabulary
from thorough import examples
from tokenizer_kinds import (
    ENGLISH,
    GEORGIAN,
    GREEK,
    KINDS,
    LACKING_BYTES,
    byte_level,
    with_added_tokens,
    without_some_bytes,
)
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

TEXTS = {"el": [GREEK * 3, "το ποτάμι 1984, ο δρόμος 1821."], "ka": [GEORGIAN * 3]}
ROWS = 330  # embedding rows of the base: more than its tokenizer has entries


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
            assert token == "".join(old.spelling_of[piece] for piece in pieces)
        else:
            decoder = Tokenizer.from_file(str(base / "tokenizer.json"))
            assert decoder.decode(list(pieces)).strip() == new.text_of(token).strip()


@settings(max_examples=examples(60))
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


@given(st.lists(st.tuples(st.text("abc", min_size=1, max_size=9), st.integers(1, 4)), max_size=8))
def test_merges_are_those_of_counting_all_pairs_anew(words: list[tuple[str, int]]) -> None:
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
    found = learn_merges(table, 5, name)

    expected_spelled, name = namer()
    left = [([ids[c] for c in text], count) for text, count in words]
    merges: list[tuple[int, int]] = []
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
        if -best[0] < MIN_COUNT:
            break
        token = name(*best[1])
        if token is None:
            banned.add(best[1])
            continue
        merges.append(best[1])
        left = [(replaced(tokens, best[1], token), count) for tokens, count in left]
    assert found == merges
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
    with pytest.raises(ModelError, match="neither of bytes nor has it byte fallback"):
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


@pytest.mark.parametrize(
    "text",
    [
        '{"format": 1}',
        "null",
        "[]",
        '{"format": 2, "first_new_id": 9, "tokens": []}',
        '{"format": 1, "first_new_id": "9", "tokens": []}',
        '{"format": 1, "first_new_id": 9, "tokens": {}}',
        '{"format": 1, "first_new_id": 9, "tokens": [["a"]]}',
        '{"format": 1, "first_new_id": 9, "tokens": [["a", []]]}',
        '{"format": 1, "first_new_id": 9, "tokens": [["a", [-1]]]}',
        '{"format": 1, "first_new_id": 9, "tokens": [["a", [9]]]}',
    ],
)
def test_a_damaged_extension_says_so(text: str, tmp_path: Path) -> None:
    (tmp_path / "extension.json").write_text(text, "utf-8")
    with pytest.raises(ArtifactError, match="not written by this version"):
        Extension.read(tmp_path)


# Ids without gaps


def test_every_id_before_the_new_ones_has_an_entry(folders: tuple[Path, Path]) -> None:
    """Else a reader gives a token that is added later the id of a new one."""
    base, extended = folders
    num_rows = ROWS + len(Extension.read(extended).tokens)
    library = Tokenizer.from_file(str(extended / "tokenizer.json"))
    assert sorted(library.get_vocab().values()) == list(range(num_rows))
    for text in (GREEK, ENGLISH, "<|reserved_329|> <reserved_329>"):
        found = library.encode(text).ids
        assert not [i for i in found if str(library.id_to_token(i)).startswith("<|reserved")]
    library.add_special_tokens(["<|later|>"])
    assert library.token_to_id("<|later|>") == num_rows
    loaded: Any = AutoTokenizer.from_pretrained(extended)
    loaded.add_special_tokens({"pad_token": "<|later|>"})
    assert loaded.pad_token_id == num_rows
    assert Tokenizer.from_file(str(base / "tokenizer.json")).get_vocab().items() <= (
        library.get_vocab().items()
    )


def test_holes_between_the_ids_of_a_base_are_filled_too(tmp_path: Path) -> None:
    base = byte_level(tmp_path / "base")
    found = json.loads((base / "tokenizer.json").read_text("utf-8"))
    last = max(found["model"]["vocab"].values())
    entries = {"<|user|>": last + 3, "<|reserved_301|>": last + 5}
    found["model"]["vocab"] |= entries
    (base / "tokenizer.json").write_text(json.dumps(found), "utf-8")
    extension = extend_tokenizer(base, tmp_path / "out", texts=TEXTS, num_new_tokens=30)
    ids = BaseVocabulary(tmp_path / "out" / "tokenizer.json").ids
    assert sorted(ids.values()) == list(range(extension.first_new_id + 30))
    assert extension.first_new_id == last + 6
    assert entries.items() <= ids.items()


def test_a_token_that_only_the_config_names_keeps_the_id_it_has_with_the_base(
    tmp_path: Path,
) -> None:
    base = byte_level(tmp_path / "base")
    (base / "config.json").write_text(json.dumps({"vocab_size": ROWS}), "utf-8")
    config = json.loads((base / "tokenizer_config.json").read_text("utf-8"))
    config |= {"pad_token": "<|pad|>", "additional_special_tokens": ["<|user|>"]}
    (base / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")
    extend_tokenizer(base, tmp_path / "out", texts=TEXTS, num_new_tokens=30)
    old, new = (AutoTokenizer.from_pretrained(f) for f in (base, tmp_path / "out"))
    for token in ("<|pad|>", "<|user|>"):
        assert new.convert_tokens_to_ids(token) == old.convert_tokens_to_ids(token) < ROWS
    assert len(new) == ROWS + 30


def test_transformers_takes_an_extended_tokenizer_as_it_stands(tmp_path: Path) -> None:
    """GPT-2's class cuts by GPT-2's own rule, whatever pre-tokenizer the file has."""
    base = tmp_path / "base"
    base.mkdir()
    train_tokenizer([ENGLISH] * 20, 300, base, words="marks")
    config = {"tokenizer_class": "GPT2Tokenizer", "auto_map": {"AutoTokenizer": ["a.B", None]}}
    (base / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")
    model = {"model_type": "gpt2", "vocab_size": ROWS, "eos_token_id": [0], "bos_token_id": 0}
    (base / "config.json").write_text(json.dumps(model), "utf-8")
    extend_tokenizer(base, tmp_path / "out", texts=TEXTS, num_new_tokens=30)
    loaded: Any = AutoTokenizer.from_pretrained(tmp_path / "out")
    for text in ("हिन्दी की किताबें 1984", GREEK):
        assert loaded(text).input_ids == encode(tmp_path / "out", text)
    assert loaded.eos_token == loaded.bos_token == "<|endoftext|>"


# Bytes that a base has no token for


def test_text_that_needs_no_missing_byte_extends_a_base_that_lacks_some(tmp_path: Path) -> None:
    base = without_some_bytes(tmp_path / "base")
    missing = BaseVocabulary(base / "tokenizer.json")
    assert len([c for c in BYTE_OF_CHARACTER if c not in missing.ids]) == 21
    whole = byte_level(tmp_path / "whole")
    for folder, name in ((base, "a"), (whole, "b")):
        extend_tokenizer(folder, tmp_path / name, texts=TEXTS, num_new_tokens=60)
    found, expected = (Extension.read(tmp_path / name).tokens for name in ("a", "b"))
    assert found == expected


@pytest.mark.parametrize(
    ("character", "named"),
    [
        ("\x04", "byte 0x04"),
        ("\U00040001", "byte 0xF1"),
        ("\x13\x04\U00040001", "0x04, 0x13, 0xF1"),
    ],
)
def test_new_text_that_needs_a_missing_byte_is_refused_by_name(
    character: str, named: str, tmp_path: Path
) -> None:
    base = without_some_bytes(tmp_path / "base")
    texts = {"el": [GREEK, f"ο γέρος{character} περπατά"], "ka": [GEORGIAN]}
    code = f"U\\+{ord(character[0]):04X}"
    with pytest.raises(CorpusError, match=rf"^el: .*{named}, which .*ο γέρος.*{code}.*`repair`"):
        extend_tokenizer(base, tmp_path / "out", texts=texts, num_new_tokens=9)
    whole = byte_level(tmp_path / "whole")
    assert extend_tokenizer(whole, tmp_path / "b", texts=texts, num_new_tokens=9).tokens
    original = {"en": [f"the house{character}"]}
    clean = {"el": [GREEK] * 3}
    extend_tokenizer(base, tmp_path / "a", texts=clean, num_new_tokens=9, original_texts=original)


def test_a_missing_byte_is_dropped_later_or_unknown_as_it_is_by_the_base(tmp_path: Path) -> None:
    base = without_some_bytes(tmp_path / "base")
    extend_tokenizer(base, tmp_path / "out", texts=TEXTS, num_new_tokens=60)
    for folder in (base, tmp_path / "out"):
        library = Tokenizer.from_file(str(folder / "tokenizer.json"))
        assert library.decode(library.encode("το ποτ\x04άμι").ids) == "το ποτάμι"
    settings = json.loads((base / "tokenizer.json").read_text("utf-8"))
    settings["model"]["unk_token"] = "<|endoftext|>"
    (base / "tokenizer.json").write_text(json.dumps(settings), "utf-8")
    extend_tokenizer(base, tmp_path / "unk", texts=TEXTS, num_new_tokens=60)
    for folder in (base, tmp_path / "unk"):
        assert encode(folder, "a\x04b") == [*encode(folder, "a"), 0, *encode(folder, "b")]


def test_an_added_token_may_hold_a_byte_that_the_vocabulary_lacks(tmp_path: Path) -> None:
    base = without_some_bytes(tmp_path / "base")
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    tokenizer.add_tokens([AddedToken("\x04", normalized=False)])
    tokenizer.save(str(base / "tokenizer.json"))
    texts = {"el": [f"{GREEK}\x04{GREEK}"] * 3}
    assert extend_tokenizer(base, tmp_path / "out", texts=texts, num_new_tokens=9).tokens
    with pytest.raises(CorpusError, match="byte 0x06"):
        extend_tokenizer(
            base, tmp_path / "no", texts={"el": [f"{GREEK}\x04\x06"]}, num_new_tokens=9
        )


@pytest.fixture(scope="module")
def smollm2() -> Path:
    """The folder of benchmarks/real_base.py, where LANGRAFT_REAL_BASE names it."""
    folder = Path(os.environ.get("LANGRAFT_REAL_BASE", ""))
    if not (folder / "tokenizer.json").is_file():
        pytest.skip("LANGRAFT_REAL_BASE names no folder that benchmarks/real_base.py made")
    return folder


def test_smollm2s_tokenizer_can_be_extended(smollm2: Path, tmp_path: Path) -> None:
    vocabulary = BaseVocabulary(smollm2 / "tokenizer.json")
    lacking = {BYTE_OF_CHARACTER[c] for c in BYTE_OF_CHARACTER if c not in vocabulary.ids}
    assert lacking == set(LACKING_BYTES)
    extension = extend_tokenizer(smollm2, tmp_path, texts=TEXTS, num_new_tokens=60)
    assert extension.first_new_id == 49152
    assert encode(tmp_path, ENGLISH + "in 1984") == encode(smollm2, ENGLISH + "in 1984")
    pieces = dict(enumerate(extension.pieces, start=49152))
    for text in (GREEK, GEORGIAN):
        before, after = encode(smollm2, text), encode(tmp_path, text)
        assert len(after) < 0.6 * len(before)
        assert [i for token in after for i in pieces.get(token, (token,))] == before
    with pytest.raises(CorpusError, match="byte 0x04"):
        extend_tokenizer(smollm2, tmp_path, texts={"el": ["το\x04"]}, num_new_tokens=9)
