"""A graft with new tokens leaves the machine as one model with one tokenizer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from langraft.core.settings.languages import Languages
from langraft.export.delta import add_instruct_delta
from langraft.export.folder import export_model
from langraft.graft.freeze import never_trained, parameter_groups
from langraft.graft.methods import METHODS
from langraft.graft.store import load, save
from langraft.graft.surgery import graft_info, graft_model
from langraft.tokenizers.extension import extend_tokenizer
from tiny import VOCAB_SIZE, free_columns, tiny_model

NEW = 12
GREEK = "το σπίτι είναι δίπλα στο ποτάμι"
RARE = range(0, VOCAB_SIZE, 3)
SETTINGS: dict[str, dict[str, Any]] = {
    "moe_ct": {"attention_rank": 2, "output_rank": 3, "token_rows": "rare"},
    "moe_lpr": {"token_rows": "rare"},
    "llama_pro": {"new_blocks": 1, "token_rows": "rare"},
    "lora": {"token_rows": "rare"},
}


@pytest.fixture
def grafted(save_base: Callable[..., Path], tmp_path: Path) -> Callable[..., Any]:
    """Graft and move everything, save to tmp_path/graft, return the model."""

    def make(method: str, family: str, tied: bool) -> Any:
        base = save_base(family, tie_word_embeddings=tied)
        texts = {"el": [GREEK] * 9}
        extend_tokenizer(base, tmp_path / "extended", texts=texts, num_new_tokens=NEW)
        settings = METHODS[method].model_validate(SETTINGS.get(method, {}))
        plain = tiny_model(family, tie_word_embeddings=tied)
        model = graft_model(
            plain,
            settings,
            free_columns=free_columns(plain, settings),
            rare_tokens=RARE if settings.token_rows == "rare" else (),
            tokenizer=tmp_path / "extended",
            languages=Languages(original=("en",), new=("el",)),
        )
        everything, left = method in ("full", "moe_full", "ssu"), never_trained(model)
        for group, parameters in parameter_groups(model).items():
            for number, parameter in enumerate(parameters.values()):
                noise = torch.Generator().manual_seed(number)
                if group != "base" or (everything and id(parameter) not in left):
                    parameter.data += 0.1 * torch.randn(parameter.shape, generator=noise)
        graft_info(model).is_base_changed = everything
        save(model, tmp_path / "graft", base=base)
        return model.eval()

    return make


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    ids = torch.randint(VOCAB_SIZE + NEW, (2, 24), generator=torch.Generator().manual_seed(1))
    return model(input_ids=ids, use_cache=False).logits


CASES = [
    *((method, "llama", tied) for method in METHODS for tied in (True, False)),
    *(("moe_ct", family, True) for family in ("gpt2", "gemma2", "bloom")),
    *(("moe_lpr", family, True) for family in ("cohere2", "granite", "olmo2", "qwen3")),
]


@pytest.mark.parametrize(("method", "family", "tied"), CASES)
def test_an_export_holds_new_tokens_in_its_own_matrices(
    method: str, family: str, tied: bool, grafted: Callable[..., Any], tmp_path: Path
) -> None:
    model = grafted(method, family, tied)
    expected = logits(model)
    result = export_model(tmp_path / "graft", tmp_path / "export")
    exported: Any = AutoModelForCausalLM.from_pretrained(
        tmp_path / "export", trust_remote_code=result.architecture == "GraftedForCausalLM"
    )
    assert exported.config.vocab_size == VOCAB_SIZE + NEW
    atol = (1e-4 if method == "lora" else 1e-5) * max(1.0, expected.abs().max().item())
    torch.testing.assert_close(logits(exported), expected, atol=atol, rtol=1e-5)
    embedding = exported.get_input_embeddings().weight
    assert len(embedding) == VOCAB_SIZE + NEW
    is_standard = result.num_experts and result.architecture != "GraftedForCausalLM"
    is_one = tied and not (is_standard and family != "cohere2")
    assert is_one == (exported.get_output_embeddings().weight is embedding)
    code = {"trust_remote_code": result.architecture == "GraftedForCausalLM"}
    ours = AutoTokenizer.from_pretrained(tmp_path / "export", **code)
    wanted = AutoTokenizer.from_pretrained(tmp_path / "extended")
    assert ours(GREEK).input_ids == wanted(GREEK).input_ids
    assert max(ours(GREEK).input_ids) >= VOCAB_SIZE
    assert json.loads((tmp_path / "export" / "config.json").read_text())["vocab_size"] == (
        VOCAB_SIZE + NEW
    )
    assert not (tmp_path / "export" / "extension.json").exists()


def test_an_instruct_delta_keeps_the_new_tokens(
    grafted: Callable[..., Any], tmp_path: Path
) -> None:
    model = grafted("moe_lpr", "llama", False)
    base = tmp_path / "base-llama"
    add_instruct_delta(tmp_path / "graft", base, tmp_path / "with-delta")
    torch.testing.assert_close(logits(load(tmp_path / "with-delta")), logits(model))
