"""What every method promises on every family, on real two-layer models.

One graft is trained a case and serves all of its tests. By default ``moe_lpr`` meets every family
and every other method those that differ in structure; ``--thorough`` crosses all.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from langraft.core.settings.languages import Languages
from langraft.core.settings.stage import Stage
from langraft.export.folder import ExportResult, export_model
from langraft.families.family import FAMILIES
from langraft.families.load import load_model
from langraft.graft.freeze import group_of, set_trainable
from langraft.graft.methods import METHODS
from langraft.graft.moe.losses import TokenRoles, mean_over_layers
from langraft.graft.store import load, save
from langraft.graft.surgery import graft_info, graft_model
from langraft.graft.wrappers.column_choice import choose_free_columns
from thorough import is_thorough
from tiny import DECODERS, VOCAB_SIZE, tiny_model

RARE = tuple(range(40, VOCAB_SIZE, 3))
ROWS = {
    "full": ("all", "rare", "frozen"),
    "moe_full": ("all",),
    "ssu": ("all", "rare"),
}
SETTINGS = {
    "llama_pro": {"new_blocks": 1},
    "lora": {"rank": 2, "alpha": 1},
    "moe_ct": {"attention_rank": 2, "output_rank": 3},
}
ODD_ROWS = ("gemma2", "gpt2", "bloom")  # scaled embedding, Conv1D, normed embedding
# Gated, fused and plain FFNs; Conv1D; a residual in the FFN; layers in parallel; norms after;
# an activation with weights; attention with windows.
STRUCTURES = ("llama", "phi3", "gpt2", "bloom", "gpt_neox", "cohere2", "gemma2", "apertus")


def is_default(family: str, rows: str, tied: str) -> bool:
    """Say whether a method beside ``moe_lpr`` meets a family without ``--thorough``."""
    if rows == "rare":
        return family == "llama" or (family in ODD_ROWS and tied == "tied")
    return family in STRUCTURES


CASES = [
    pytest.param((method, family, rows, tied), id=f"{method}-{family}-{rows}-{tied}")
    for method in METHODS
    for family in DECODERS
    for rows in ROWS.get(method, ("frozen", "rare"))
    for tied in ("tied", "untied")
    if (tied == "tied" and rows == ROWS.get(method, ("frozen",))[0])
    or (rows == "rare" and (family in FAMILIES or (family in ODD_ROWS and tied == "tied")))
    if is_thorough() or method == "moe_lpr" or is_default(family, rows, tied)
]


@dataclass(kw_only=True)
class Trained:
    """A graft before and after a little training."""

    method: str
    family: str
    rows: str
    base: Path
    base_logits: torch.Tensor
    first_logits: torch.Tensor
    before: dict[str, torch.Tensor]
    trained_names: set[str]
    model: Any
    logits: torch.Tensor


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory, tokenizer_folder: Path) -> Callable[..., Path]:
    """Save each base once."""
    root = tmp_path_factory.mktemp("bases")

    def base(family: str, tied: str) -> Path:
        folder = root / f"{family}-{tied}"
        if not folder.is_dir():
            tiny_model(family, tie_word_embeddings=tied == "tied").save_pretrained(folder)
            for path in tokenizer_folder.glob("tokenizer*"):
                (folder / path.name).write_bytes(path.read_bytes())
        return folder

    return base


@pytest.fixture(scope="module", params=CASES)
def trained(request: pytest.FixtureRequest, bases: Callable[..., Path]) -> Trained:
    method, family, rows, tied = request.param
    base_logits = logits(tiny_model(family, tie_word_embeddings=tied == "tied"))
    model = make(method, family, rows, tied)
    first_logits = logits(model)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    trained_names = train_a_little(model)
    return Trained(
        method=method,
        family=family,
        rows=rows,
        base=bases(family, tied),
        base_logits=base_logits,
        first_logits=first_logits,
        before=before,
        trained_names=trained_names,
        model=model,
        logits=logits(model),
    )


def make(method: str, family: str, rows: str, tied: str) -> Any:
    model = tiny_model(family, tie_word_embeddings=tied == "tied")
    options = {"token_rows": rows} | SETTINGS.get(method, {})
    settings = METHODS[method].model_validate(options)
    choice, columns = settings.column_choice, None
    if choice is not None:
        columns = choose_free_columns(model, [ids()[:1]], choice.frozen_share)
    rare = RARE if rows == "rare" else ()
    return graft_model(model, settings, rare_tokens=rare, free_columns=columns)


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


def test_step_0_equals_the_base(trained: Trained) -> None:
    torch.testing.assert_close(trained.first_logits, trained.base_logits, atol=1e-5, rtol=1e-5)


def test_frozen_tensors_are_bit_identical_after_training(trained: Trained) -> None:
    model, before = trained.model, trained.before
    moved = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert moved <= trained.trained_names
    assert moved, "training moved nothing"
    if METHODS[trained.method].groups != ("token_rows",) and trained.rows != "all":
        ours = set(METHODS[trained.method].groups)
        inside = [n for n in moved if trained.method != "ssu" or "layers." in n or ".h." in n]
        assert all(group_of(model.get_submodule(n.rpartition(".")[0])) in ours for n in inside)
    if trained.rows != "all":
        embedding = model.get_input_embeddings()
        frozen = embedding.base.weight if trained.rows == "rare" else embedding.weight
        assert not moved & {n for n, p in model.named_parameters() if p is frozen}


def test_saved_loaded_exported_and_reloaded_models_are_equal(
    trained: Trained, tmp_path: Path
) -> None:
    expected = trained.logits
    save(trained.model, tmp_path / "graft", base=trained.base)
    torch.testing.assert_close(logits(load(tmp_path / "graft")), expected, atol=1e-5, rtol=1e-5)

    result = export_model(tmp_path / "graft", tmp_path / "export", shard_bytes=20_000)
    exported = AutoModelForCausalLM.from_pretrained(
        tmp_path / "export", trust_remote_code=result.architecture == "GraftedForCausalLM"
    )
    assert type(exported).__name__ == result.architecture
    assert METHODS[trained.method].has_experts == (result.num_experts > 0)
    # Merging low-rank factors into a weight rounds by the size of the logits.
    is_lora = trained.method == "lora"
    atol = 1e-4 * max(1.0, expected.abs().max().item()) if is_lora else 1e-5
    torch.testing.assert_close(logits(exported), expected, atol=atol, rtol=1e-5)
    assert len(list((tmp_path / "export").glob("model-*.safetensors"))) > 1
    if trained.method == "moe_lpr" and trained.family in FAMILIES:
        check_names_are_those_of_transformers(trained.family, result, exported, tmp_path)


def check_names_are_those_of_transformers(
    family: str, result: ExportResult, exported: Any, folder: Path
) -> None:
    """A standard export has the tensors that transformers itself would release."""
    assert result.architecture == FAMILIES[family].twin.architecture
    exported.save_pretrained(folder / "again")
    assert tensor_shapes(folder / "export") == tensor_shapes(folder / "again")


def tensor_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor of a folder by name, those of size zero left out."""
    return {
        name: tuple(tensor.shape)
        for path in folder.glob("*.safetensors")
        for name, tensor in load_file(path).items()
        if tensor.numel()
    }


GENERATES = {
    "llama": ("moe_lpr", "MixtralForCausalLM"),
    "cohere2": ("moe_lpr", "Cohere2MoeForCausalLM"),
    "ernie4_5": ("moe_lpr", "Ernie4_5_MoeForCausalLM"),
    "granite": ("moe_lpr", "GraniteMoeForCausalLM"),
    "olmo2": ("moe_lpr", "FlexOlmoForCausalLM"),
    "gemma2": ("moe_ct", "GraftedForCausalLM"),
}


def test_exported_folders_generate_where_langraft_cannot_be_imported(
    bases: Callable[..., Path], tmp_path: Path
) -> None:
    for family, (method, _) in GENERATES.items():
        model = make(method, family, "rare", "tied")
        train_a_little(model)
        save(model, tmp_path / family / "graft", base=bases(family, "tied"))
        export_model(tmp_path / family / "graft", tmp_path / family / "export")
    code = f"""
import sys
sys.modules["langraft"] = None
from pathlib import Path
from transformers import AutoModelForCausalLM, AutoTokenizer
for family in {list(GENERATES)!r}:
    folder, is_own = Path({str(tmp_path)!r}, family, "export"), family == "gemma2"
    model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=is_own)
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=is_own)
    ids = tokenizer("the house", return_tensors="pt").input_ids
    same = [
        model.generate(ids, max_new_tokens=8, do_sample=False, pad_token_id=0, use_cache=use_cache)
        for use_cache in (True, False)
    ]
    assert (same[0] == same[1]).all(), "the cache changes what is generated"
    try:
        import langraft
    except ImportError:
        print(type(model).__name__, repr(tokenizer.decode(same[0][0])))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == len(GENERATES)
    for line, (_, architecture) in zip(lines, GENERATES.values(), strict=True):
        assert line.startswith(f"{architecture} 'the house")


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
