"""Adding ``instruct - base`` to a graft."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from langraft.core.errors import ModelError
from langraft.export.delta import add_instruct_delta
from langraft.families.load import load_model, load_tokenizer
from langraft.families.sites import find_ffn_sites
from langraft.graft.description import tokenizer_folder
from langraft.graft.methods.full import Full
from langraft.graft.methods.moe_lpr import MoELPR
from langraft.graft.store import load, save
from langraft.graft.surgery import graft_info, graft_model
from tiny import VOCAB_SIZE

IDS = torch.randint(1, VOCAB_SIZE, (2, 20), generator=torch.Generator().manual_seed(0))


def noise(model: Any, pattern: str = "") -> Any:
    for number, (name, parameter) in enumerate(model.named_parameters()):
        if pattern in name:
            drawn = torch.Generator().manual_seed(number)
            with torch.no_grad():
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=drawn))
    return model


@pytest.mark.parametrize("family", ["llama", "phi3", "gpt2", "starcoder2"])
def test_every_expert_and_shared_weight_moves_by_the_difference(
    family: str, save_base: Callable[..., Path], tmp_path: Path
) -> None:
    base = save_base(family)
    instruct = tmp_path / "instruct"
    noise(load_model(base)).save_pretrained(instruct)
    for path in base.glob("tokenizer*"):
        (instruct / path.name).write_bytes(path.read_bytes())
    method = MoELPR(new_experts=2, token_rows="rare", layers=(1,))
    graft = graft_model(load_model(base), method, rare_tokens=[3, 4])
    for pattern in (".experts.", ".router.", ".deltas."):
        noise(graft, pattern)
    save(graft, tmp_path / "graft", base=base)

    assert add_instruct_delta(tmp_path / "graft", instruct, tmp_path / "out") == 2
    found = load(tmp_path / "out")

    # By hand: the difference of every base tensor onto the base's place and onto every expert.
    old, new = load_model(base), load_model(instruct)
    ffns = find_ffn_sites(old)[1], find_ffn_sites(new)[1]
    bank = graft.get_submodule(ffns[0].path).experts
    with torch.no_grad():
        for side in ("in", "out"):
            before, after = (getattr(site, f"weights_{side}")() for site in ffns)
            getattr(bank, f"weight_{side}").add_(after[0] - before[0])
            if before[1] is not None:
                getattr(bank, f"bias_{side}").add_(after[1] - before[1])
        wrapped = {
            ".".join(p for p in n.split(".") if p != "base"): v for n, v in graft.named_parameters()
        }
        for name, parameter in new.named_parameters():
            wrapped[name].copy_(parameter)
        expected = graft.eval()(input_ids=IDS).logits
        torch.testing.assert_close(found(input_ids=IDS).logits, expected, atol=1e-5, rtol=1e-5)


def test_a_graft_that_only_learned_to_talk_takes_the_tokenizer_of_the_instruct_model(
    save_base: Callable[..., Path], tmp_path: Path
) -> None:
    base = save_base()
    instruct, chat = (Path(shutil.copytree(base, tmp_path / name)) for name in ("instruct", "chat"))
    settings = json.loads((base / "tokenizer_config.json").read_text())
    for folder in (instruct, chat):
        written = settings | {"chat_template": folder.name}
        (folder / "tokenizer_config.json").write_text(json.dumps(written))
    save(graft_model(load_model(base), MoELPR()), tmp_path / "graft", base=base, tokenizer=chat)
    add_instruct_delta(tmp_path / "graft", instruct, tmp_path / "out")
    tokenizer: Any = load_tokenizer(tokenizer_folder(tmp_path / "out"))
    assert tokenizer.chat_template == "instruct"


def test_a_model_of_another_base_and_a_trained_base_are_refused(
    save_base: Callable[..., Path], tmp_path: Path
) -> None:
    base = save_base()
    save(graft_model(load_model(base), MoELPR()), tmp_path / "graft", base=base)
    wide = save_base("mistral", intermediate_size=48)
    with pytest.raises(ModelError, match=r"tensors differ in name or shape, for example"):
        add_instruct_delta(tmp_path / "graft", wide, tmp_path / "out")
    model = graft_model(load_model(base), Full())
    graft_info(model).is_base_changed = True
    save(model, tmp_path / "trained", base=base)
    with pytest.raises(ModelError, match="trained the base's own weights"):
        add_instruct_delta(tmp_path / "trained", base, tmp_path / "out")
    assert not (tmp_path / "out").exists()
