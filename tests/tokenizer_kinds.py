"""A base's tokenizer in each form that can be extended, small and real."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from langraft.tokenizers.training import train_tokenizer
from langraft.tokenizers.vocabulary import BYTE_OF_CHARACTER
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers

GREEK = "το σπίτι είναι δίπλα στο ποτάμι και ο γέρος περπατά στον δρόμο κάθε πρωί. "
GEORGIAN = "სახლი მდინარესთან დგას და მოხუცი ყოველ დილით გზაზე დადის. "
ENGLISH = "the house stands by the river and the old man walks along the road every morning. "

# Of SmolLM2: six control characters, two that begin code points without characters, and thirteen
# that UTF-8 does not have.
LACKING_BYTES = (0x04, 0x06, 0x13, 0x14, 0x16, 0x1D, 0xC0, 0xC1, 0xF1, 0xF2, *range(0xF5, 0x100))


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


def without_some_bytes(folder: Path) -> Path:
    """As SmolLM2: the letters of 21 bytes are no entries, since no text had them."""
    path = byte_level(folder) / "tokenizer.json"
    found = json.loads(path.read_text("utf-8"))
    vocab: dict[str, int] = found["model"]["vocab"]
    letters = {byte: letter for letter, byte in BYTE_OF_CHARACTER.items()}
    lacking = {letters[byte] for byte in LACKING_BYTES}
    kept = [token for token in sorted(vocab, key=lambda t: vocab[t]) if token not in lacking]
    found["model"]["vocab"] = {token: number for number, token in enumerate(kept)}
    path.write_text(json.dumps(found), "utf-8")
    return folder


def _byte(number: int) -> str:
    return f"<0x{number:02X}>"


KINDS: dict[str, Callable[[Path], Path]] = {
    "byte_level": byte_level,
    "ignoring_merges": ignoring_merges,
    "with_added_tokens": with_added_tokens,
    "with_byte_fallback": with_byte_fallback,
    "without_some_bytes": without_some_bytes,
}
