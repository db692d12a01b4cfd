from __future__ import annotations

import json
from pathlib import Path

import pytest

from langraft.core.base_files import (
    TokenizerConfig,
    WeightIndex,
    check_tokenizer_files,
    read_base_json,
    read_end_ids,
    read_model_config,
)
from langraft.core.errors import ModelError


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (None, "holds null"),
        ({"architectures": "LlamaForCausalLM"}, 'holds "LlamaForCausalLM" under architectures'),
        ({"architectures": [None]}, "holds null under architectures.0"),
        ({"hidden_size": "16"}, 'holds "16" under hidden_size'),
        ({"vocab_size": -320}, "holds -320 under vocab_size"),
        ({"num_hidden_layers": 10**9}, "holds 1000000000 under num_hidden_layers"),
        ({"num_experts": []}, "holds a list under num_experts"),
        ({"text_config": []}, "holds a list under text_config"),
        ({"text_config": {"vocab_size": 1.5}}, "holds 1.5 under text_config.vocab_size"),
    ],
)
def test_a_config_with_a_wrong_value_is_refused_with_its_key(
    tmp_path: Path, config: object, said: str
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ModelError) as caught:
        read_model_config(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'config.json'} {said}")


def test_a_config_is_read_with_all_its_keys(tmp_path: Path) -> None:
    config = {
        "architectures": None,
        "intermediate_size": [16, 32],
        "eos_token_id": [1, 2],
        "rope_parameters": {"rope_theta": 1e4},
        "text_config": {"vocab_size": 320, "other": []},
    }
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert read_model_config(tmp_path) == config


@pytest.mark.parametrize(
    "text", ['{"eos_token_id": {}}', '{"eos_token_id": [[1]]}', '{"num_beams": 0}', "[]", "{"]
)
def test_a_generation_config_is_checked_before_anything_is_generated(
    tmp_path: Path, text: str
) -> None:
    assert read_end_ids(tmp_path) is None
    (tmp_path / "generation_config.json").write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match=r"generation_config\.json (holds|is damaged)"):
        read_end_ids(tmp_path)


@pytest.mark.parametrize(
    "weight_map",
    [
        *(None, [], {"a": 1}, {"a": ""}, {"a": "."}, {"a": "weights.bin"}),
        *({"a": "../model.safetensors"}, {"a": "/model.safetensors"}, {"a": "\0.safetensors"}),
    ],
)
def test_an_index_that_names_no_file_of_its_folder_is_refused(
    tmp_path: Path, weight_map: object
) -> None:
    path = tmp_path / "model.safetensors.index.json"
    path.write_text('{"metadata": {}, "weight_map": {"a": "1.safetensors"}}', encoding="utf-8")
    read_base_json(path, WeightIndex)
    path.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}), encoding="utf-8")
    with pytest.raises(ModelError, match=r"index\.json holds .* under weight_map"):
        read_base_json(path, WeightIndex)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize("text", ["", "null", "[]", '{"added_tokens": 3, "eos_token": []}'])
def test_a_file_of_a_tokenizer_that_is_damaged_is_named(
    tmp_path: Path, name: str, text: str
) -> None:
    check_tokenizer_files(tmp_path)
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match=rf"{name} (holds|lacks|is damaged)"):
        check_tokenizer_files(tmp_path)


def test_an_end_of_text_token_is_a_text_or_an_object(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer_config.json"
    for token, text in (("<e>", "<e>"), ({"content": "<e>", "lstrip": 1}, "<e>"), (None, None)):
        path.write_text(json.dumps({"eos_token": token}), encoding="utf-8")
        assert read_base_json(path, TokenizerConfig).end_of_text == text
