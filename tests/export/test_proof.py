"""What an export proves: exact twins, every window and boundary, and the base's own bits."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from langraft.core.errors import ExportError
from langraft.export import proof
from langraft.export import standard as standard_module
from langraft.export.folder import ExportResult, export_model
from langraft.export.proof import prove_logits
from langraft.export.standard import find_twin
from langraft.families.family import FAMILIES
from langraft.families.load import empty_model, load_model
from langraft.families.positions import boundaries_in, num_learned_positions, windows_in
from langraft.families.stored_names import tensors_of_model
from langraft.families.twin_config import config_for_twin
from langraft.graft.methods import METHODS
from langraft.graft.methods.moe_lpr import MoELPR
from langraft.graft.store import save
from langraft.graft.surgery import graft_model
from tiny import VOCAB_SIZE, tiny_model


def edit_config(base: Path, **keys: Any) -> None:
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | keys))


def write_graft(base: Path, folder: Path, **settings: Any) -> Path:
    method = METHODS[settings.pop("name", "moe_lpr")].model_validate(settings)
    rare = range(0, VOCAB_SIZE, 3) if method.token_rows == "rare" else ()
    model = graft_model(load_model(base), method, rare_tokens=rare)
    for number, (name, parameter) in enumerate(model.named_parameters()):
        if any(part in name for part in (".experts.", ".router.", ".deltas.", ".lora_B.")):
            noise = torch.Generator().manual_seed(number)
            with torch.no_grad():
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=noise))
    save(model, folder, base=base)
    return folder


def export(base: Path, tmp_path: Path, **settings: Any) -> ExportResult:
    return export_model(write_graft(base, tmp_path / "graft", **settings), tmp_path / "export")


# What a base's class ignores and its twin's obeys


@pytest.mark.parametrize(
    ("family", "keys"),
    [
        ("llama", {"sliding_window": 20}),
        ("llama", {"router_jitter_noise": 0.5, "rope_scaling": {"type": "linear", "factor": 2.0}}),
        ("cohere2", {"rms_norm_eps": 1e-2, "mlp_layer_types": ["dense", "dense"]}),
        ("cohere2", {"num_shared_experts": 2, "expert_selection_fn": "sigmoid"}),
        ("ernie4_5", {"moe_layer_end_index": 0}),
        ("qwen2", {"qkv_bias": False, "sliding_window": 20}),
        ("granite", {"sliding_window": 20, "num_local_experts": 1}),
        ("olmo2", {"sliding_window": 20, "norm_topk_prob": False}),
    ],
)
def test_a_key_that_the_base_ignores_does_not_reach_its_twin(
    family: str, keys: dict[str, Any], save_base: Callable[..., Path], tmp_path: Path
) -> None:
    base = save_base(family)
    edit_config(base, **keys)
    result = export(base, tmp_path, new_experts=2, token_rows="frozen")
    assert result.architecture == FAMILIES[family].twin.architecture
    long = torch.randint(VOCAB_SIZE, (2, 120), generator=torch.Generator().manual_seed(5))
    from langraft.graft.store import load

    with torch.no_grad():
        expected = load(tmp_path / "graft")(input_ids=long, use_cache=False).logits
        found = load_model(tmp_path / "export")(input_ids=long, use_cache=False).logits
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max().clamp(min=1)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (
            {"model_type": "qwen3", "use_sliding_window": True, "sliding_window": 9},
            "do not obey layer_types",
        ),
        ({"model_type": "llama", "per_layer_config": {"0": {"intermediate_size": 8}}}, "shapes"),
    ],
)
def test_what_a_twin_ignores_and_the_base_obeys_is_refused(
    config: dict[str, Any], reason: str
) -> None:
    extra = {"max_window_layers": 1} if config["model_type"] == "qwen3" else {}
    with pytest.raises(ExportError, match=reason):
        find_twin(config | {"num_hidden_layers": 2} | extra, [MoELPR()])


@pytest.mark.parametrize("family", list(FAMILIES))
def test_the_twin_reads_the_defaults_of_the_base(family: str) -> None:
    find_twin({"model_type": family, "num_hidden_layers": 40}, [MoELPR()])


@pytest.mark.parametrize("family", list(FAMILIES))
def test_a_twin_gives_a_token_one_expert_as_the_graft_does(
    family: str, save_base: Callable[..., Path], tmp_path: Path
) -> None:
    result = export(save_base(family), tmp_path, new_experts=2, experts_per_token=1)
    assert result.architecture == FAMILIES[family].twin.architecture
    assert result.largest_difference < 1e-5


def test_a_window_that_its_class_obeys_stays(save_base: Callable[..., Path]) -> None:
    config = {"model_type": "mistral", "sliding_window": 77}
    assert config_for_twin(config, FAMILIES["mistral"].twin)["sliding_window"] == 77


# The proof reads far enough


@pytest.mark.parametrize("window", [100, 5000])
def test_the_proof_reads_past_a_window_however_long(
    window: int,
    save_base: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base = save_base(sliding_window=window)

    def obey_all(config: dict[str, Any], twin: object) -> dict[str, Any]:
        del twin
        return dict(config)

    monkeypatch.setattr(standard_module, "config_for_twin", obey_all)
    with pytest.raises(ExportError, match="logits differ"):
        export(base, tmp_path, new_experts=2, token_rows="frozen")


@pytest.mark.parametrize(
    ("exported_rope", "sequence_length"),
    [({"rope_type": "dynamic", "factor": 8.0}, 0), ({"rope_type": "dynamic", "factor": 8.0}, 300)],
)
def test_the_proof_reads_across_the_boundary_of_a_rope(
    exported_rope: dict[str, Any],
    sequence_length: int,
    save_base: Callable[..., Path],
    tmp_path: Path,
) -> None:
    base = save_base()  # 256 positions: up to there both ropes are alike
    graft = write_graft(base, tmp_path / "graft", new_experts=2, token_rows="frozen")
    export_model(graft, tmp_path / "export")
    rope = exported_rope | {"rope_theta": 10000.0}
    edit_config(tmp_path / "export", rope_parameters=rope)
    empty = empty_model(base)
    with pytest.raises(ExportError, match="logits differ"):
        prove_logits(
            graft,
            base,
            tmp_path / "export",
            empty=empty,
            base=tensors_of_model(base, empty),
            frozen=(),
            is_merged=False,
            sequence_length=sequence_length,
            then=lambda _: None,
        )


def test_the_last_learned_position_is_compared(
    save_base: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = save_base("gpt2")
    write: Any = proof.load_model

    def load_and_break(folder: Path, **keys: Any) -> Any:
        model = write(folder, **keys)
        model.transformer.wpe.weight.data[250, 3] += 1.0
        return model

    monkeypatch.setattr(proof, "load_model", load_and_break)
    with pytest.raises(ExportError, match="logits differ"):
        export(base, tmp_path, new_experts=2, token_rows="frozen")


def test_windows_boundaries_and_tables_are_found_in_configs_and_models() -> None:
    rope = {"original_max_position_embeddings": 64, "rope_type": "llama3"}
    config = {"sliding_window": 9, "max_window_layers": 3, "rope_scaling": rope, "use_window": True}
    assert windows_in(config) == [9]
    assert windows_in({"window_size": 4, "attention_chunk_size": 8}) == [4, 8]
    assert boundaries_in(config | {"max_position_embeddings": 256}) == [64, 256]
    assert num_learned_positions(tiny_model("gpt2", max_position_embeddings=70)) == 70
    assert num_learned_positions(tiny_model("llama")) is None


# The base's own bits


@pytest.mark.parametrize(
    ("family", "name", "settings"),
    [
        ("llama", "model.norm.weight", {}),
        ("llama", "model.embed_tokens.weight", {"token_rows": "rare"}),
        ("granite", "model.layers.1.block_sparse_moe.input_linear.weight", {}),
        ("gpt2", "transformer.h.1.mlp.base.c_fc.weight", {}),
        ("llama", "model.layers.0.input_layernorm.weight", {"name": "lora", "rank": 2}),
        ("llama", "model.layers.2.mlp.up_proj.weight", {"name": "llama_pro", "new_blocks": 2}),
    ],
)
def test_one_bit_that_was_not_trained_and_differs_is_found(
    family: str,
    name: str,
    settings: dict[str, Any],
    save_base: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from langraft.export import folder

    written = folder._write_model  # pyright: ignore[reportPrivateUsage]
    found: dict[str, Any] = {}

    def write_and_flip(source: Any, twin: Any, at: Path, shard_bytes: int) -> Any:
        result = written(source, twin, at, shard_bytes)
        path = at / "model.safetensors"
        tensors = load_file(path)
        found.update({each: tensors[each].shape for each in tensors})
        bits = tensors[name].view(torch.int32).view(-1)
        bits[17 % len(bits)] ^= 1  # far below what logits show
        save_file(tensors, path, metadata={"format": "pt"})
        return result

    monkeypatch.setattr(folder, "_write_model", write_and_flip)
    options = {"token_rows": "frozen"} | settings
    options |= {} if "name" in settings else {"new_experts": 2}
    with pytest.raises(ExportError, match="which was not trained"):
        export(save_base(family), tmp_path, **options)
    assert name in found


def test_a_graft_in_memory_that_differs_from_the_base_is_found(
    save_base: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = proof.load

    def load_and_move(*given: Any, **keys: Any) -> Any:
        model = loaded(*given, **keys)
        model.model.norm.weight.data[0] += 1e-6
        return model

    monkeypatch.setattr(proof, "load", load_and_move)
    with pytest.raises(ExportError, match=r"in memory differs .* in model\.norm\.weight"):
        export(save_base(), tmp_path, new_experts=2, token_rows="frozen")


# Names that transformers reads


def rename(
    base: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]
) -> None:
    path = base / "model.safetensors"
    save_file(change(load_file(path)), path, metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("family", "change"),
    [
        ("gpt2", lambda t: {n.removeprefix("transformer."): x for n, x in t.items()}),
        ("llama", lambda t: {n.removeprefix("model."): x for n, x in t.items()}),
        ("llama", lambda t: t | {"lm_head.weight": t["model.embed_tokens.weight"].clone()}),
        ("llama", lambda t: {n.replace("model.embed_tokens", "lm_head"): x for n, x in t.items()}),
        ("gpt_neox", lambda t: t | {"gpt_neox.layers.0.attention.bias": torch.ones(4).bool()}),
        ("llama", lambda t: t | {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)}),
    ],
    ids=["no prefix", "no prefix, twin", "both names", "the other name", "a mask", "a rope"],
)
def test_a_base_is_exported_whatever_names_its_files_use(
    family: str, change: Any, save_base: Callable[..., Path], tmp_path: Path
) -> None:
    base = save_base(family, tie_word_embeddings=family != "gpt_neox")
    rename(base, change)
    export(base, tmp_path, new_experts=2, token_rows="rare")
