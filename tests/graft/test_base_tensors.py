"""A small graft does not hold its base, so what was changed of it is refused by its names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from langraft.core.errors import ModelError
from langraft.core.settings.languages import Languages
from langraft.families.load import load_model
from langraft.graft.base_tensors import merge_with_base
from langraft.graft.freeze import set_trainable
from langraft.graft.methods import METHODS
from langraft.graft.methods.full import Full
from langraft.graft.methods.llama_pro import LlamaPro
from langraft.graft.methods.moe_lpr import MoELPR
from langraft.graft.store import load, save
from langraft.graft.surgery import graft_info, graft_model
from langraft.tokenizers.extension import extend_tokenizer
from tiny import free_columns

IDS = torch.tensor([[1, 9, 3, 9, 5]])
ROWS = MoELPR(new_experts=2, token_rows="rare", attention_rank=2, output_rank=2)


def train(model: Any, *parts: str) -> None:
    """One step of a loop of one's own on the parameters that a name's part names."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(any(part in name for part in parts))
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.1)
    model(input_ids=IDS, labels=IDS).loss.backward()
    optimizer.step()


@pytest.mark.parametrize(
    ("trained", "names"),
    [
        ("layers.1.input_layernorm", r"The tensor model\.layers\.1\.input_layernorm\.weight is"),
        ("self_attn.k_proj.base", r"self_attn\.k_proj\.base\.weight is"),
        ("mlp.base.up_proj", r"2 tensors \(model\.layers\.0\.mlp\.base\.up_proj\.weight, "),
        ("base", r"12 tensors .* and 8 more\) are"),
    ],
)
def test_a_trained_tensor_of_the_frozen_base_is_refused_by_its_name(
    trained: str, names: str, save_base: Callable[..., Path], tmp_path: Path
) -> None:
    base = save_base()
    model = graft_model(load_model(base), ROWS, rare_tokens=[3, 9])
    train(model, trained, "deltas", "experts")
    with pytest.raises(ModelError, match=names + r".*not as in the base .*is_base_changed = True"):
        save(model, tmp_path / "graft", base=base)
    assert not (tmp_path / "graft").exists()
    graft_info(model).is_base_changed = True
    save(model, tmp_path / "graft", base=base)
    again = load(tmp_path / "graft")
    assert torch.equal(again(IDS).logits, model.eval()(IDS).logits)


@pytest.mark.parametrize("is_base_changed", [False, True])
@pytest.mark.parametrize("is_tied", [True, False])
def test_a_resized_vocabulary_is_refused_with_what_to_do(
    is_tied: bool, is_base_changed: bool, save_base: Callable[..., Path], tmp_path: Path
) -> None:
    base = save_base(tie_word_embeddings=is_tied)
    model = graft_model(load_model(base), MoELPR(new_experts=2))
    model.resize_token_embeddings(324)
    graft_info(model).is_base_changed = is_base_changed
    names = r"model\.embed_tokens\.weight" if is_tied else r"2 tensors \(lm_head\.weight, model"
    with pytest.raises(ModelError, match=names + r".* of another shape.*extended tokenizer"):
        save(model, tmp_path / "graft", base=base)
    assert not (tmp_path / "graft").exists()


def test_a_replaced_or_added_tensor_is_refused(
    save_base: Callable[..., Path], tmp_path: Path
) -> None:
    base = save_base(tie_word_embeddings=True)
    model = graft_model(load_model(base), MoELPR(new_experts=2))
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.clone())  # tied no more
    with pytest.raises(ModelError, match=r"lm_head\.weight is not as in the base .*: added"):
        save(model, tmp_path / "graft", base=base)
    model = graft_model(load_model(base), MoELPR(new_experts=2))
    model.model.norm.weight = torch.nn.Parameter(torch.rand(16))
    with pytest.raises(ModelError, match=r"model\.norm\.weight is not as in the base"):
        save(model, tmp_path / "graft", base=base)
    del model.model.layers[1].self_attn.q_proj.weight
    with pytest.raises(ModelError, match=r"layers\.1\.self_attn\.q_proj\.weight is .*removed"):
        save(model, tmp_path / "graft", base=base)


@pytest.mark.parametrize("family", ["llama", "gpt2", "apertus", "bloom"])
@pytest.mark.parametrize("method", list(METHODS))
def test_an_untouched_base_is_accepted_and_a_touched_one_refused_whatever_the_method(
    method: str, family: str, save_base: Callable[..., Path], tmp_path: Path
) -> None:
    base = save_base(family)
    settings = METHODS[method].model_validate({"new_blocks": 1} if method == "llama_pro" else {})
    model: Any = load_model(base)
    graft_model(model, settings, free_columns=free_columns(model, settings))
    save(model, tmp_path / "graft", base=base)
    norm = [n for n, _ in model.named_parameters() if "norm" in n or "ln_" in n][-1]
    with torch.no_grad():
        model.get_parameter(norm)[3] += 1e-3
    with pytest.raises(ModelError, match=norm.replace(".", r"\.")):
        save(model, tmp_path / "graft", base=base)


@pytest.mark.parametrize("in_files", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("loaded", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("cast", [torch.float32, torch.bfloat16])
def test_a_base_in_another_precision_is_the_same_base(
    cast: torch.dtype,
    loaded: torch.dtype,
    in_files: torch.dtype,
    save_base: Callable[..., Path],
    tmp_path: Path,
) -> None:
    base = save_base()
    load_model(base, in_files).save_pretrained(base)
    model = graft_model(load_model(base, loaded), MoELPR(new_experts=2)).to(cast)
    save(model, tmp_path / "graft", base=base)
    with torch.no_grad():
        model.model.layers[0].mlp.base.up_proj.weight[2, 3] += 0.5
    with pytest.raises(ModelError, match=r"layers\.0\.mlp\.base\.up_proj\.weight is"):
        save(model, tmp_path / "graft", base=base)


def test_a_second_expansion_and_new_tokens_are_compared_with_the_first_base(
    save_base: Callable[..., Path], tmp_path: Path
) -> None:
    base = save_base()
    texts = {"el": ["το σπίτι είναι δίπλα στο ποτάμι"] * 9, "ka": ["სახლი მდინარესთან დგას"] * 9}
    extend_tokenizer(base, tmp_path / "extended", texts=texts, num_new_tokens=24)
    languages = Languages(original=("en",), new=("el",))
    first = graft_model(
        load_model(base),
        ROWS,
        rare_tokens=[3, 9],
        tokenizer=tmp_path / "extended",
        languages=languages,
    )
    save(first, tmp_path / "first", base=base)
    second = graft_model(load(tmp_path / "first"), ROWS, rare_tokens=[4], seed=1)
    save(second, tmp_path / "second", base=tmp_path / "first")
    train(second, "layers.0.post_attention_layernorm", "experts")
    with pytest.raises(ModelError, match=r"layers\.0\.post_attention_layernorm\.weight is"):
        save(second, tmp_path / "third", base=tmp_path / "first")


def test_files_that_leave_out_the_prefix_of_names_are_compared_too(
    save_base: Callable[..., Path], tmp_path: Path
) -> None:
    base = save_base(tie_word_embeddings=True)
    tensors = load_file(base / "model.safetensors")
    stored = {name.removeprefix("model."): tensor for name, tensor in tensors.items()}
    save_file(stored, base / "model.safetensors", metadata={"format": "pt"})
    model = graft_model(load_model(base), MoELPR(new_experts=2))
    save(model, tmp_path / "graft", base=base)
    with torch.no_grad():
        model.model.norm.weight[0] += 1
    with pytest.raises(ModelError, match=r"model\.norm\.weight is"):
        save(model, tmp_path / "graft", base=base)


def test_full_training_saves_all_tensors_without_reading_the_base(
    save_base: Callable[..., Path], tmp_path: Path
) -> None:
    base = save_base()
    model = graft_model(load_model(base), Full())
    train(model, "")
    graft_info(model).is_base_changed = True
    save(model, tmp_path / "graft", base=base)
    assert torch.equal(load(tmp_path / "graft")(IDS).logits, model.eval()(IDS).logits)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_rare_rows_count_by_their_weight_in_a_merge(
    family: str, save_base: Callable[..., Path]
) -> None:
    base = save_base(family)
    model: Any = graft_model(load_model(base), Full(token_rows="rare"), rare_tokens=[3, 5])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1)
    before = model.get_input_embeddings().weight.detach().clone()
    merge_with_base(model, base, 0.25)
    own = load_model(base).get_input_embeddings().weight
    after = model.get_input_embeddings().weight
    torch.testing.assert_close(after, torch.lerp(own, before, 0.25))


def test_a_model_with_weights_of_its_own_is_not_merged(save_base: Callable[..., Path]) -> None:
    base = save_base()
    for method, words in (
        (MoELPR(new_experts=2), r"moe_lpr has weights .*\(experts, routers\)"),
        (LlamaPro(new_blocks=1), r"llama_pro has weights .*\(blocks\)"),
    ):
        with pytest.raises(ModelError, match=words):
            merge_with_base(graft_model(load_model(base), method), base, 0.5)


def test_frozen_layers_are_read_from_the_base(
    save_base: Callable[..., Path], tmp_path: Path
) -> None:
    base = save_base()
    model: Any = graft_model(load_model(base), Full(frozen_layers=(0, 0)))
    trained = set_trainable(model, "everything", token_rows="all")
    assert trained.keys() == {n for n, _ in model.named_parameters() if ".layers.0." not in n}
    graft_info(model).is_base_changed = True
    save(model, tmp_path / "graft", base=base)
    assert not [n for n in load_file(tmp_path / "graft/graft.safetensors") if ".layers.0." in n]
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight.mul_(1.01)
    with pytest.raises(ModelError, match=r"layers\.0\.mlp\.up_proj\.weight is not as in the base"):
        save(model, tmp_path / "graft", base=base)
