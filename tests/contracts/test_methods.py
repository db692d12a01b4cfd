"""What every method promises on every family with a twin, on real two-layer models."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from langraft.core.recipe import Languages
from langraft.core.stage import Stage
from langraft.export.folder import export_model
from langraft.families.family import FAMILIES
from langraft.families.load import load_model
from langraft.graft.freeze import group_of, set_trainable
from langraft.graft.losses import TokenRoles, mean_over_layers
from langraft.graft.methods import METHODS
from langraft.graft.store import load, save
from langraft.graft.surgery import graft_info, graft_model
from tiny import DECODERS, VOCAB_SIZE, tiny_model

RARE = tuple(range(40, VOCAB_SIZE, 3))
ROWS = {"full": ("all", "rare", "frozen"), "moe_full": ("all",)}
SETTINGS = {
    "llama_pro": {"new_blocks": 1},
    "lora": {"rank": 2, "alpha": 1},
    "moe_ct": {"attention_rank": 2, "output_rank": 3},
}
ODD_ROWS = ("gemma2", "gpt2", "bloom")  # scaled embedding, Conv1D, normed embedding
CASES = [
    pytest.param(method, family, rows, tied, id=f"{method}-{family}-{rows}-{tied}")
    for method in METHODS
    for family in DECODERS
    for rows in ROWS.get(method, ("frozen", "rare"))
    for tied in ("tied", "untied")
    if (tied == "tied" and rows == ROWS.get(method, ("frozen",))[0])
    or (rows == "rare" and (family in FAMILIES or (family in ODD_ROWS and tied == "tied")))
]


def make(method: str, family: str, rows: str, tied: str) -> Any:
    model = tiny_model(family, tie_word_embeddings=tied == "tied")
    options = {"token_rows": rows} | SETTINGS.get(method, {})
    settings = METHODS[method].model_validate(options)
    return graft_model(model, settings, rare_tokens=RARE if rows == "rare" else ())


def ids() -> torch.Tensor:
    return torch.randint(1, VOCAB_SIZE, (2, 24), generator=torch.Generator().manual_seed(1))


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=ids(), use_cache=False).logits


def train_a_little(model: Any, steps: int = 4) -> set[str]:
    """Train the method's own stages for real, side losses included; returns trained names."""
    info = graft_info(model)
    languages = Languages(original=("en",), new=("el",))
    trained_names: set[str] = set()
    for stage in info.method.default_stages(languages, 1000):
        stage = info.method.complete_stage(stage)
        assert stage.trains is not None
        trained = set_trainable(model, stage.trains, token_rows=info.method.token_rows)
        info.is_base_changed |= stage.trains == "everything"
        trained_names |= set(trained)
        optimizer = torch.optim.AdamW(trained.values(), lr=1e-2, weight_decay=0.1)
        roles = TokenRoles(torch.ones(48, dtype=torch.bool), torch.arange(48) < 24)
        for _ in range(steps):
            with info.recorder.recording() as recorded:
                loss = model(input_ids=ids(), labels=ids(), use_cache=False).loss
                for name, weight in (stage.losses or {}).items():
                    side_loss = info.method.side_losses()[name]
                    loss = loss + weight * mean_over_layers(side_loss, recorded, roles)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    return trained_names


@pytest.mark.parametrize(("method", "family", "rows", "tied"), CASES)
def test_step_0_equals_the_base(method: str, family: str, rows: str, tied: str) -> None:
    base = tiny_model(family, tie_word_embeddings=tied == "tied")
    torch.testing.assert_close(
        logits(make(method, family, rows, tied)), logits(base), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize(("method", "family", "rows", "tied"), CASES)
def test_frozen_tensors_are_bit_identical_after_training(
    method: str, family: str, rows: str, tied: str
) -> None:
    model = make(method, family, rows, tied)
    before = copy.deepcopy(dict(model.named_parameters()))
    trained = train_a_little(model)
    moved = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert moved <= trained
    assert moved, "training moved nothing"
    if METHODS[method].groups != ("token_rows",) and rows != "all":
        ours = set(METHODS[method].groups)
        assert all(group_of(model.get_submodule(n.rpartition(".")[0])) in ours for n in moved)
    if rows != "all":
        embedding = model.get_input_embeddings()
        frozen = embedding.base.weight if rows == "rare" else embedding.weight
        assert not moved & {n for n, p in model.named_parameters() if p is frozen}


@pytest.mark.parametrize(("method", "family", "rows", "tied"), CASES)
def test_saved_loaded_exported_and_reloaded_models_are_equal(
    method: str,
    family: str,
    rows: str,
    tied: str,
    save_base: Callable[..., Path],
    tmp_path: Path,
) -> None:
    base = save_base(family, tie_word_embeddings=tied == "tied")
    model = make(method, family, rows, tied)
    train_a_little(model)
    expected = logits(model)
    save(model, tmp_path / "graft", base=base)
    torch.testing.assert_close(logits(load(tmp_path / "graft")), expected, atol=1e-5, rtol=1e-5)

    result = export_model(tmp_path / "graft", tmp_path / "export", shard_bytes=20_000)
    exported = AutoModelForCausalLM.from_pretrained(
        tmp_path / "export", trust_remote_code=result.architecture == "GraftedForCausalLM"
    )
    assert type(exported).__name__ == result.architecture
    has_experts = "experts" in METHODS[method].groups
    assert has_experts == (result.num_experts > 0)
    # Merging low-rank factors into a weight rounds by the size of the logits.
    atol = 1e-4 * max(1.0, expected.abs().max().item()) if method == "lora" else 1e-5
    torch.testing.assert_close(logits(exported), expected, atol=atol, rtol=1e-5)
    assert len(list((tmp_path / "export").glob("model-*.safetensors"))) > 1


@pytest.mark.parametrize(
    ("method", "family", "architecture"),
    [
        ("moe_lpr", "llama", "MixtralForCausalLM"),
        ("moe_lpr", "cohere2", "Cohere2MoeForCausalLM"),
        ("moe_lpr", "ernie4_5", "Ernie4_5_MoeForCausalLM"),
        ("moe_lpr", "granite", "GraniteMoeForCausalLM"),
        ("moe_lpr", "olmo2", "FlexOlmoForCausalLM"),
        ("moe_ct", "gemma2", "GraftedForCausalLM"),
    ],
)
def test_an_exported_folder_generates_where_langraft_cannot_be_imported(
    method: str,
    family: str,
    architecture: str,
    save_base: Callable[..., Path],
    tmp_path: Path,
) -> None:
    base = save_base(family, tie_word_embeddings=True)
    model = make(method, family, "rare", "tied")
    train_a_little(model)
    save(model, tmp_path / "graft", base=base)
    export_model(tmp_path / "graft", tmp_path / "export")
    code = f"""
import sys
sys.modules["langraft"] = None
from transformers import AutoModelForCausalLM, AutoTokenizer
folder = {str(tmp_path / "export")!r}
model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code={method == "moe_ct"})
tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code={method == "moe_ct"})
ids = tokenizer("the house", return_tensors="pt").input_ids
same = [
    model.generate(ids, max_new_tokens=8, do_sample=False, pad_token_id=0, use_cache=use_cache)
    for use_cache in (True, False)
]
assert (same[0] == same[1]).all(), "the cache changes what is generated"
try:
    import langraft
except ImportError:
    print(type(model).__name__, tokenizer.decode(same[0][0]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"{architecture} the house")


def tensor_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor of a folder by name, those of size zero left out."""
    return {
        name: tuple(tensor.shape)
        for name, tensor in load_file(folder / "model.safetensors").items()
        if tensor.numel()
    }


@pytest.mark.parametrize("tied", ["tied", "untied"])
@pytest.mark.parametrize("family", list(FAMILIES))
def test_a_standard_export_has_the_tensors_that_transformers_itself_releases(
    family: str, tied: str, save_base: Callable[..., Path], tmp_path: Path
) -> None:
    base = save_base(family, tie_word_embeddings=tied == "tied")
    model = make("moe_lpr", family, "rare", tied)
    train_a_little(model)
    save(model, tmp_path / "graft", base=base)
    result = export_model(tmp_path / "graft", tmp_path / "export", wanted="standard")
    assert result.architecture == FAMILIES[family].twin.architecture
    AutoModelForCausalLM.from_pretrained(tmp_path / "export").save_pretrained(tmp_path / "again")
    assert tensor_shapes(tmp_path / "export") == tensor_shapes(tmp_path / "again")


@pytest.mark.parametrize("family", list(FAMILIES))
def test_what_a_base_leaves_to_the_defaults_of_its_class_stays_so_in_the_export(
    family: str, save_base: Callable[..., Path], tmp_path: Path
) -> None:
    base = save_base(family, rms_norm_eps=..., rope_parameters=..., head_dim=...)
    config = json.loads((base / "config.json").read_text())
    for key in ("head_dim", "rms_norm_eps", "rope_parameters"):
        config.pop(key, None)
    (base / "config.json").write_text(json.dumps(config))
    model = graft_model(load_model(base), METHODS["moe_lpr"].model_validate({}))
    train_a_little(model)
    save(model, tmp_path / "graft", base=base)
    export_model(tmp_path / "graft", tmp_path / "export", wanted="standard")


@pytest.mark.parametrize("method", list(METHODS))
@pytest.mark.parametrize("name", ["review", "talk", "extend"])
def test_a_chat_stage_trains_what_extends_the_model_whatever_it_is_called(
    method: str, name: str
) -> None:
    settings = METHODS[method].model_validate(SETTINGS.get(method, {}))
    chat = Stage(name=name, kind="chat", tokens=100, mixture={"el": 1})
    extend = Stage(name="extend", tokens=100, mixture={"el": 1})
    for has_new_tokens in (False, True):
        completed = settings.complete_stage(chat, has_new_tokens=has_new_tokens)
        wanted = settings.complete_stage(extend, has_new_tokens=has_new_tokens)
        assert (completed.trains, completed.losses) == (wanted.trains, wanted.losses)
        assert completed.trains
    given = chat.model_copy(update={"trains": settings.groups[:1], "losses": {}})
    if settings.groups[0] != "token_rows":
        assert settings.complete_stage(given).trains == settings.groups[:1]


def test_the_literal_name_of_every_method_is_its_file_name() -> None:
    for name in METHODS:
        assert METHODS[name]().name == name
