"""The card says of each server how it serves the export, as the export's own files and notes do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from langraft.export.next_commands import next_commands
from langraft.export.portable.folder import portable_caveat
from langraft.families.family import FAMILIES
from langraft.graft.methods.moe_lpr import MoELPR
from langraft.report.card import model_card
from langraft.report.gather import gather
from langraft.report.templating import template_environment
from tiny import tiny_config

MakeRun = Callable[..., Path]
MODELFILE = "FROM ./model-f32.gguf\n# The tokenizer has no chat template.\n"
PORTABLE = "GraftedForCausalLM"


def notes_of(family: str, **changes: Any) -> str:
    """Return what the export step says of a base of a family with three new experts."""
    return " ".join(FAMILIES[family].twin.notes_for(tiny_config(family, **changes).to_dict(), 4))


def serving_of(
    run: Path, architecture: str, caveat: str, files: Iterable[str] = ("reference.json",)
) -> dict[str, str]:
    """Return the card's section by its headings; what stands before them under ''."""
    for file in files:
        text = MODELFILE if file == "Modelfile" else "{}"
        (run / "export" / file).write_text(text, encoding="utf-8")
    found = gather(run)
    assert found.export is not None
    export = replace(found.export, architecture=architecture, caveat=caveat)
    card = model_card(replace(found, export=export), template_environment())
    section = card.split("\n## Serve it\n")[1].split("\n## ")[0]
    assert "\n\n\n" not in section.rstrip()
    head, *blocks = section.split("\n### ")
    by_name = (block.partition("\n") for block in blocks)
    return {"": head, **{name: text for name, _, text in by_name}}


def commands_in(block: str) -> list[str]:
    return block.split("```bash\n")[1].split("```")[0].splitlines() if "```" in block else []


def test_a_standard_folder_is_served_as_it_is_and_verified(make_run: MakeRun) -> None:
    said = serving_of(make_run(), "MixtralForCausalLM", f"{notes_of('llama')} It is large.")
    assert list(said) == ["", "vLLM", "SGLang", "llama.cpp"]
    assert commands_in(said["vLLM"]) == [
        "vllm serve FOLDER",
        "langraft verify http://localhost:8000 --export FOLDER",
    ]
    assert commands_in(said["SGLang"]) == [
        "python -m sglang.launch_server --model-path FOLDER --port 30000",
        "langraft verify http://localhost:30000 --export FOLDER",
    ]
    assert "tensor-parallel size of at most" in said["vLLM"]
    assert "tensor-parallel size of at most" in said["SGLang"]
    assert "tests do not run it" in said["SGLang"]
    assert commands_in(said["llama.cpp"]) == []
    assert "`langraft export RUN --out DIR --gguf q8_0`" in said["llama.cpp"]
    assert "It is large." in said[""]
    assert "tensor-parallel" not in said[""]
    assert "reference.json" in said[""]


def test_a_portable_folder_is_served_by_vllm_with_its_own_code(make_run: MakeRun) -> None:
    caveat = portable_caveat([MoELPR(new_experts=3)])
    said = serving_of(make_run(), PORTABLE, f"{caveat} Why no standard class: another family.")
    assert list(said) == ["", "vLLM", "SGLang"]
    assert commands_in(said["vLLM"])[0] == "vllm serve FOLDER --trust-remote-code"
    assert "--model-path FOLDER --trust-remote-code" in commands_in(said["SGLang"])[0]
    assert "SGLang was not tried" in said["SGLang"]
    assert "llama.cpp cannot." in said[""]
    assert "another family" in said[""]


def test_no_server_is_named_for_a_portable_folder_that_none_loads(make_run: MakeRun) -> None:
    caveat = portable_caveat([MoELPR(new_experts=3, output_rank=4)])
    said = serving_of(make_run(), PORTABLE, caveat)
    assert list(said) == [""]
    assert "FOLDER" not in said[""]


def test_files_of_gguf_are_named_with_ollamas_command(make_run: MakeRun) -> None:
    files = ("reference.json", "model-q8_0.gguf", "model-f32.gguf", "model-x`y.gguf", "Modelfile")
    said = serving_of(make_run(), "MixtralForCausalLM", notes_of("llama"), files)
    assert commands_in(said["llama.cpp"]) == [
        "llama-server -m FOLDER/model-f32.gguf --port 8080",
        "langraft verify http://localhost:8080 --export FOLDER",
    ]
    assert "Also here: `model-q8_0.gguf`." in said["llama.cpp"]
    assert "pushed with `--gguf`" in said["llama.cpp"]
    assert "no GGUF" not in said["llama.cpp"]
    assert commands_in(said["Ollama"]) == [
        "cd FOLDER && ollama create my-model && ollama run my-model"
    ]
    assert "The tokenizer has no chat template." in said["Ollama"]


def test_without_a_reference_nothing_is_verified(make_run: MakeRun) -> None:
    said = serving_of(make_run(), "MixtralForCausalLM", notes_of("llama"), ())
    assert "verify" not in "".join(said.values())


@pytest.mark.parametrize("family", list(FAMILIES))
def test_a_server_that_lacks_the_class_has_no_command(make_run: MakeRun, family: str) -> None:
    twin = FAMILIES[family].twin
    said = serving_of(make_run(), twin.architecture, notes_of(family))
    is_in_sglang = "SGLang does not know" not in twin.caveat
    assert bool(commands_in(said["SGLang"])) == is_in_sglang
    assert ("There is no GGUF file" in said["llama.cpp"]) == (not twin.not_in_llama_cpp)
    assert commands_in(said["vLLM"])
    for sentence in twin.notes:
        assert sentence.split(";")[0].split(". ")[0] in "".join(said.values())


def test_a_limit_stands_with_the_servers_that_have_it(make_run: MakeRun) -> None:
    caveat = notes_of("mistral", hidden_act="gelu", sliding_window=8)
    said = serving_of(make_run(), "MixtralForCausalLM", caveat)
    assert "compute SiLU" in said["vLLM"]
    assert "compute SiLU" in said["SGLang"]
    assert "past the sliding window" in said["SGLang"]
    assert "past the sliding window" not in said["vLLM"] + said[""]


def test_what_a_portable_folder_needs_to_be_served_stays_one_text(make_run: MakeRun) -> None:
    method = MoELPR(new_experts=3, attention_rank=4)
    caveat = portable_caveat([method], {"logits_scaling": 8.0})
    head = serving_of(make_run(), PORTABLE, caveat)[""]
    assert "leave --tensor-parallel-size at 1" in head
    assert "leave out logits_scaling: the first choice" in head
    assert "does not. Multiply the temperature by 8." in head


def test_a_class_that_a_server_refuses_with_this_config_has_no_command(make_run: MakeRun) -> None:
    caveat = notes_of("ernie4_5", hidden_act="gelu")
    said = serving_of(make_run(), "Ernie4_5_MoeForCausalLM", caveat)
    assert commands_in(said["SGLang"]) == []
    assert "refuses any other activation" in said["SGLang"]
    assert commands_in(said["vLLM"])


@pytest.mark.parametrize("file", ["config.json", "model-q8_0.gguf"])
def test_the_card_serves_as_the_next_commands_do(make_run: MakeRun, file: str) -> None:
    run = make_run()
    (run / "graft" / "graft.json").write_text("{}", encoding="utf-8")
    files = ("reference.json", "config.json", file)
    said = serving_of(run, "MixtralForCausalLM", notes_of("llama"), files)
    block = said["llama.cpp" if file.endswith(".gguf") else "vLLM"]
    named = [command.replace(f"{run}/export", "FOLDER") for command in next_commands(run)]
    assert commands_in(block) == named[1:3]
