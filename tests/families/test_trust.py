"""No folder of a model is trusted with more than data."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from command_line import langraft
from langraft.core.errors import ModelError
from langraft.families.load import check_base, empty_model, load_config, load_model, load_tokenizer
from langraft.families.meta_model import model_on_meta
from langraft.families.tensors import weight_files
from langraft.graft.description import fingerprint_base

CODE = """
from pathlib import Path
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
Path({ran!r}).touch()
class OwnConfig(LlamaConfig):
    model_type = "own"
class OwnModel(LlamaForCausalLM):
    config_class = OwnConfig
class OwnTokenizer(PreTrainedTokenizerFast):
    pass
"""


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.fixture
def ran(tmp_path: Path) -> Path:
    """A file that exists once code of the hostile folder has run."""
    return tmp_path / "ran"


@pytest.fixture
def hostile(save_base: Callable[..., Path], ran: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A base that asks to run code, before a user who answers yes to everything."""
    monkeypatch.setattr("builtins.input", lambda *_: "yes")
    folder = save_base()
    (folder / "own.py").write_text(CODE.format(ran=str(ran)))
    own = {
        "AutoConfig": "own.OwnConfig",
        "AutoModel": "own.OwnModel",
        "AutoModelForCausalLM": "own.OwnModel",
    }
    change(folder / "config.json", model_type="own", auto_map=own)
    tokenizers = {"AutoTokenizer": [None, "own.OwnTokenizer"]}
    change(folder / "tokenizer_config.json", tokenizer_class="OwnTokenizer", auto_map=tokenizers)
    return folder


def test_a_base_with_code_of_its_own_is_refused_and_not_run(hostile: Path, ran: Path) -> None:
    for load in (
        check_base,
        load_config,
        load_model,
        empty_model,
        lambda folder: model_on_meta(folder, torch.float32),
    ):
        with pytest.raises(ModelError, match=r"config\.json.*langraft runs no code"):
            load(hostile)
    with pytest.raises(ModelError, match=r"tokenizer in .* cannot be loaded"):
        load_tokenizer(hostile)
    assert not ran.exists()


def test_a_known_model_with_code_of_its_own_is_loaded_by_its_known_class(
    save_base: Callable[..., Path], hostile: Path, ran: Path
) -> None:
    change(hostile / "config.json", model_type="llama")
    assert type(load_model(hostile)).__module__.startswith("transformers.")
    assert not ran.exists()


@pytest.mark.parametrize("verb", ["plan", "run", "chat", "export", "tokenizer", "delta"])
def test_no_verb_runs_the_code_of_a_base(
    verb: str,
    hostile: Path,
    ran: Path,
    tmp_path: Path,
    small_recipe: dict[str, object],
) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text(yaml.safe_dump(small_recipe | {"base": str(hostile)}))
    arguments = {
        "plan": ["plan", recipe],
        "run": ["run", recipe, "--out", tmp_path / "run"],
        "chat": ["chat", hostile, "--prompt", "hello"],
        "export": ["export", hostile, "--out", tmp_path / "out"],
        "tokenizer": ["tokenizer", "report", hostile, "--text", f"en={recipe}"],
        "delta": ["delta", hostile, "--instruct", hostile, "--out", tmp_path / "out"],
    }[verb]
    done = langraft(*arguments, check=False)
    assert "Traceback" not in done.stderr
    assert done.returncode in ((0, 2) if verb == "tokenizer" else (2,))
    assert not ran.exists()


def test_a_kernel_of_a_hub_is_refused(save_base: Callable[..., Path]) -> None:
    folder = save_base()
    change(folder / "config.json", _attn_implementation="somebody/kernels")
    with pytest.raises(ModelError, match=r"code from a hub.*Take the key out"):
        load_config(folder)


def test_an_adapter_that_would_load_another_model_is_refused(
    save_base: Callable[..., Path],
) -> None:
    folder = save_base()
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "/elsewhere"}')
    with pytest.raises(ModelError, match=r"adapter_config\.json.*merge_and_unload"):
        check_base(folder)


def test_a_quantized_base_is_refused_with_what_to_do(save_base: Callable[..., Path]) -> None:
    folder = save_base()
    change(folder / "config.json", quantization_config={"quant_method": "bitsandbytes"})
    with pytest.raises(ModelError, match=r"saved quantized \(bitsandbytes\).*quantize_frozen"):
        check_base(folder)


# Weights


def with_index(folder: Path, name: str) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    index = {"metadata": {}, "weight_map": {"model.norm.weight": name}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize("name", ["../a.safetensors", "/etc/passwd", "a/b.safetensors", "x.bin"])
def test_an_index_that_leads_out_of_the_folder_is_refused(
    save_base: Callable[..., Path], name: str
) -> None:
    folder = save_base()
    with_index(folder, name)
    for read in (weight_files, load_model, fingerprint_base):
        with pytest.raises(ModelError, match=r"index\.json holds .* under weight_map"):
            read(folder)


def test_pickled_weights_are_refused(save_base: Callable[..., Path]) -> None:
    folder = save_base()
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    for read in (weight_files, load_model, fingerprint_base):
        with pytest.raises(ModelError, match=r"only pytorch_model\.bin.*unpickling"):
            read(folder)


def test_the_file_that_transformers_prefers_is_the_one_that_is_read(
    save_base: Callable[..., Path],
) -> None:
    folder = save_base()
    shutil.copy(folder / "model.safetensors", folder / "kept.safetensors")
    with_index(folder, "model-00001-of-00001.safetensors")
    (folder / "kept.safetensors").rename(folder / "model.safetensors")
    assert [path.name for path in weight_files(folder)] == ["model.safetensors"]


# Fingerprints


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_the_fingerprint_holds_what_decides_on_tokens_and_logits(
    save_base: Callable[..., Path], name: str
) -> None:
    folder = save_base()
    before = fingerprint_base(folder)
    (folder / name).write_bytes((folder / name).read_bytes() + b" ")
    assert fingerprint_base(folder) != before


def test_the_fingerprint_holds_the_index_and_all_that_it_names(
    save_base: Callable[..., Path],
) -> None:
    folder = save_base()
    with_index(folder, "model-00001-of-00001.safetensors")
    before = fingerprint_base(folder)
    for name in ("model.safetensors.index.json", "model-00001-of-00001.safetensors"):
        (folder / name).write_bytes((folder / name).read_bytes() + b" ")
        assert fingerprint_base(folder) != before
        before = fingerprint_base(folder)
