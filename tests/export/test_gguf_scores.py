"""Vocabularies with byte fallback in GGUF files: llama.cpp cuts text as their merges do."""

from __future__ import annotations

import heapq
import itertools
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, strategies

from langraft.core.errors import ExportError
from langraft.export.folder import export_model
from langraft.export.gguf.vocabulary import ScoredVocabulary, check_tokenizer
from langraft.families.load import load_tokenizer
from langraft.graft.methods.moe_lpr import MoELPR
from langraft.graft.store import save
from langraft.graft.surgery import graft_model
from langraft.tokenizers.extension import extend_tokenizer
from langraft.tokenizers.gguf_tokenizer import read_tokenizer
from tiny import tiny_model
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors, trainers

SPACE = "▁"
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
CONTROL, USER_DEFINED, UNUSED, BYTE = 3, 4, 5, 6  # of tokenizer.ggml.token_type
NUM_ROWS = 500
REPLACE = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
LLAMA2 = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": SPACE}, REPLACE]}
MISTRAL3 = {
    "type": "Metaspace",
    "replacement": SPACE,
    "prepend_scheme": "first",
    "split": False,
}
GEMMA = {
    "type": "Split",
    "pattern": {"String": " "},
    "behavior": "MergedWithPrevious",
    "invert": False,
}
STYLES = {
    "llama 2": {"normalizer": LLAMA2, "pre_tokenizer": None},
    "mistral 0.3": {"normalizer": None, "pre_tokenizer": MISTRAL3},
    "gemma": {"normalizer": REPLACE, "pre_tokenizer": GEMMA},
}


@dataclass(frozen=True)
class LlamaCpp:
    """What llama.cpp reads of a vocabulary of kind ``llama``; ``tokenize`` as its SPM session."""

    ids: Mapping[str, int]
    scores: Mapping[str, float]
    has_prefix: bool

    @classmethod
    def of_file(cls, path: Path) -> LlamaCpp:
        fields = read_fields(path)
        assert fields["tokenizer.ggml.model"] == "llama"
        tokens, scores = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.scores"]
        return cls(
            {token: number for number, token in enumerate(tokens)},
            dict(zip(tokens, scores, strict=True)),
            fields.get("tokenizer.ggml.add_space_prefix", True),
        )

    def tokenize(self, text: str) -> list[int]:
        """Join the two neighbours of the highest score, the left ones first, until none is left."""
        pieces = list((" " * self.has_prefix + text).replace(" ", SPACE))
        before = list(range(-1, len(pieces) - 1))
        behind = [*range(1, len(pieces)), -1]
        queue: list[tuple[float, int, int, str]] = []

        def add(left: int, right: int) -> None:
            if min(left, right) >= 0 and (token := pieces[left] + pieces[right]) in self.ids:
                heapq.heappush(queue, (-self.scores[token], left, right, token))

        for right in range(1, len(pieces)):
            add(right - 1, right)
        while queue:
            _, left, right, token = heapq.heappop(queue)
            if not pieces[left] or not pieces[right] or pieces[left] + pieces[right] != token:
                continue
            pieces[left], pieces[right], behind[left] = token, "", behind[right]
            if behind[right] >= 0:
                before[behind[right]] = left
            add(before[left], left)
            add(left, behind[left])
        found: list[int] = []
        for piece in filter(None, pieces):
            spelled = [piece] if piece in self.ids else [f"<0x{b:02X}>" for b in piece.encode()]
            found += [self.ids[token] for token in spelled]
        return found


def read_fields(path: Path) -> dict[str, Any]:
    from gguf import GGUFReader

    return {name: field.contents() for name, field in GGUFReader(path).fields.items()}


def lines_of(text_folder: Path, *languages: str) -> list[str]:
    paths = [text_folder / f"{language}.jsonl" for language in languages]
    return [json.loads(line)["text"] for path in paths for line in path.read_text().splitlines()]


def save_base(folder: Path, texts: Sequence[str], *, style: str = "llama 2") -> Path:
    """Write a tiny Llama with a tokenizer of one of the styles, learned from texts."""
    folder.mkdir(parents=True)
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<unk>", "<s>", "</s>"]
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=[*special, *BYTES])
    tokenizer.train_from_iterator(texts, trainer)
    settings = json.loads(tokenizer.to_str())
    settings["added_tokens"] = [t for t in settings["added_tokens"] if t["content"] in special]
    settings |= STYLES[style]
    tokenizer = Tokenizer.from_str(json.dumps(settings))
    tokenizer.add_tokens([AddedToken("[user]", normalized=False)])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>"}
    config |= {"eos_token": "</s>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    tiny_model("llama", vocab_size=NUM_ROWS).save_pretrained(folder)
    return folder


def export(base: Path, *, extended: Path | None = None) -> Path:
    """Graft a base and export it; return the GGUF file."""
    model = graft_model(tiny_model("llama", vocab_size=NUM_ROWS), MoELPR(), tokenizer=extended)
    save(model, base.parent / "graft", base=base)
    export_model(base.parent / "graft", base.parent / "export", gguf=("f32",))
    return base.parent / "export" / "model-f32.gguf"


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("is_extended", [False, True])
def test_llama_cpp_cuts_text_as_transformers_does(
    style: str, is_extended: bool, text_folder: Path, tmp_path: Path
) -> None:
    base = save_base(tmp_path / "base", lines_of(text_folder, "en", "tr"), style=style)
    extended = tmp_path / "extended" if is_extended else None
    if extended is not None:
        texts = {language: lines_of(text_folder, language) for language in ("el", "hu")}
        extend_tokenizer(base, extended, texts=texts, num_new_tokens=60)
    path = export(base, extended=extended)
    llama_cpp, tokenizer = LlamaCpp.of_file(path), load_tokenizer(path.parent)
    assert llama_cpp.has_prefix is (style != "gemma")
    assert len(llama_cpp.ids) == NUM_ROWS + 60 * is_extended
    lines = lines_of(text_folder, "en", "el", "hu", "tr")
    for line in [*lines, "Où est le nœud? 東京\n\tは  日本 🙂", "हिन्दी की किताबें  "]:
        assert llama_cpp.tokenize(line) == tokenizer(line, add_special_tokens=False).input_ids
    back = read_tokenizer(read_fields(path), path)
    for line in lines:
        expected = tokenizer(line, add_special_tokens=False).input_ids
        assert back.encode(line, add_special_tokens=False).ids == expected


def test_scores_of_sentencepiece_are_taken_where_its_file_is_exported(
    text_folder: Path, tmp_path: Path
) -> None:
    import sentencepiece

    base = save_base(tmp_path / "base", lines_of(text_folder, "en"))
    (tmp_path / "text").write_text("\n".join(lines_of(text_folder, "en")))
    sentencepiece.SentencePieceTrainer.Train(
        input=str(tmp_path / "text"),
        model_prefix=str(base / "tokenizer"),
        model_type="bpe",
        vocab_size=350,
        byte_fallback=True,
    )
    read = sentencepiece.SentencePieceProcessor(model_file=str(base / "tokenizer.model"))
    found = LlamaCpp.of_file(export(base))
    for number in range(read.get_piece_size()):
        piece = read.id_to_piece(number)
        assert found.ids[piece] == number
        assert piece in ("<unk>", "<s>", "</s>") or found.scores[piece] == read.get_score(number)


@pytest.mark.parametrize("adds_begin", [False, True])
def test_kinds_of_tokens_and_begin_of_text_are_those_of_the_tokenizer(
    adds_begin: bool, text_folder: Path, tmp_path: Path
) -> None:
    base = save_base(tmp_path / "base", lines_of(text_folder, "en"))
    if adds_begin:
        tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
        tokenizer.post_processor = processors.TemplateProcessing(
            single=["<s>", "$A"], special_tokens=[("<s>", 1)]
        )
        tokenizer.save(str(base / "tokenizer.json"))
    fields = read_fields(export(base))
    tokens, types = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    kinds = dict(zip(tokens, types, strict=True))
    assert (kinds["<s>"], kinds["<0x0A>"], kinds["[user]"]) == (CONTROL, BYTE, USER_DEFINED)
    assert types[-1] == UNUSED
    assert fields["tokenizer.ggml.add_bos_token"] is adds_begin


def write_merges(folder: Path, merges: Sequence[tuple[str, str]], *, extra: Sequence[str]) -> None:
    """Write a tokenizer of the letters a, b and c and these merges; ``extra`` have no merge."""
    joined = [left + right for left, right in merges]
    tokens = dict.fromkeys(["<unk>", *BYTES, SPACE, "a", "b", "c", *joined, *extra])
    vocab = {token: number for number, token in enumerate(tokens)}
    model = models.BPE(
        vocab=vocab, merges=list(merges), unk_token="<unk>", byte_fallback=True, fuse_unk=True
    )
    settings = json.loads(Tokenizer(model).to_str()) | STYLES["llama 2"]
    (folder / "tokenizer.json").write_text(json.dumps(settings))


@given(strategies.lists(strategies.tuples(*[strategies.integers(0, 99)] * 3), max_size=9))
@example([(1, 1, 0), (1, 4, 1), (4, 1, 2)])  # "aaa" from two pairs
@example([(2, 3, 0), (1, 2, 1), (5, 3, 2)])  # "abc" from "ab", which "bc" precludes
@example([(2, 3, 0), (1, 2, 1), (5, 3, 1), (4, 1, 2), (1, 4, 4)])  # the same, and from "bc" later
def test_scores_stand_for_merges_in_any_text_or_are_refused(
    drawn: list[tuple[int, int, int]],
) -> None:
    tokens, merges = [SPACE, "a", "b", "c"], list[tuple[str, str]]()
    for left, right, rank in drawn:
        pair = tokens[left % len(tokens)], tokens[right % len(tokens)]
        if len(joined := "".join(pair)) < 6 and pair not in merges:
            merges.insert(rank % (len(merges) + 1), pair)
            tokens += [joined] * (joined not in tokens)
    with tempfile.TemporaryDirectory() as name:
        write_merges(Path(name), merges, extra=())
        tokenizer = Tokenizer.from_file(f"{name}/tokenizer.json")
        if any(len(tokenizer.model.tokenize(token)) == 2 for token in tokens):
            with pytest.raises(ExportError, match="it has no merge for the two pieces of"):
                ScoredVocabulary.read(Path(name))
            return
        found = ScoredVocabulary.read(Path(name))
    llama_cpp = LlamaCpp(found.ids, found.scores, found.has_prefix)
    for x, y in itertools.product(tokens, repeat=2):
        text = f"{x}{y} {x}{x}{y}{y}"
        assert llama_cpp.tokenize(text) == tokenizer.encode(text).ids


def test_a_token_that_llama_cpp_alone_would_join_is_named(tmp_path: Path) -> None:
    write_merges(tmp_path, [("a", "b")], extra=["abc", "<|reserved_9|>"])
    with pytest.raises(ExportError, match=r"the two pieces of 1 of its tokens, such as 'abc', and"):
        check_tokenizer(tmp_path, is_extended=True)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"normalizer": {"type": "NFKC"}}, r"the normalizer {\"type\": \"NFKC\"} and"),
        ({"normalizer": None, "pre_tokenizer": MISTRAL3 | {"split": True}}, "pre-tokenizer {"),
        ({"pre_tokenizer": {"type": "Digits", "individual_digits": True}}, "pre-tokenizer {"),
        ({"model": {"ignore_merges": True}}, "it sets ignore_merges, which llama.cpp"),
        ({"model": {"vocab": {"a": 0}}}, "it lacks the tokens of 256 bytes, <0x00> among them"),
        (
            {"model": {"vocab": {"<0x41><0x42>": 450}, "merges": [["<0x41>", "<0x42>"]]}},
            "it merges the tokens of bytes",
        ),
        (
            {"model": {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["a", -1.0]]}},
            r"is Unigram\. llama.cpp cuts text",
        ),
    ],
)
def test_what_scores_cannot_stand_for_is_refused_before_anything_is_written(
    changes: dict[str, Any], reason: str, text_folder: Path, tmp_path: Path
) -> None:
    base = save_base(tmp_path / "base", lines_of(text_folder, "en"))
    path = base / "tokenizer.json"
    settings = json.loads(path.read_text())
    of_model = changes.pop("model", {})
    if "merges" in of_model:
        of_model["vocab"] = settings["model"]["vocab"] | of_model["vocab"]
    elif "vocab" in of_model:
        of_model = {"type": "BPE", "byte_fallback": True, "merges": []} | of_model
        settings["model"] = {}
    settings |= changes | {"model": settings["model"] | of_model}
    path.write_text(json.dumps(settings))
    with pytest.raises(ExportError, match=reason) as caught:
        export(base)
    assert "Leave export.gguf out" in str(caught.value)
    assert not (tmp_path / "export").exists()
