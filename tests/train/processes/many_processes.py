"""Run by torchrun: trains the stages of ``test_processes`` in several settings.

many_processes.py TEXT FOLDER [--stop-after STEP] NAME...
"""

from __future__ import annotations

import argparse
import json
import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from stage_setup import LANGUAGES, RARE, grafted, make_loader, training, with_new_tokens
from stage_setup import stage as make_stage
from torch.utils._python_dispatch import TorchDispatchMode

from langraft.core.errors import InterruptedRunError
from langraft.core.settings.stage import Stage
from langraft.core.settings.training import Mesh
from langraft.graft.meta_init import graft_on_meta
from langraft.graft.methods.full import Full
from langraft.graft.methods.moe_ct import MoECT
from langraft.graft.methods.moe_lpr import MoELPR
from langraft.graft.store import load_base
from langraft.graft.surgery import graft_model
from langraft.tokenizers.extension import Extension
from langraft.train.compute import chunked_loss
from langraft.train.compute.chunked_loss import TokenLosses
from langraft.train.loop import train_stage
from langraft.train.processes.fsdp import shard_model
from langraft.train.processes.group import Processes, join_processes
from langraft.train.processes.load_shards import load_shards
from tiny import tiny_model

MESHES = {
    "replicated": {"replicate": 2},
    "expert": {"expert": 2},
    "expert-recomputed": {"expert": 2},
    "expert-replicated": {"replicate": 2, "expert": 2},
}


def separated(model: Any) -> Any:
    """Make experts differ: among exact copies the routers' first gradient is rounding alone."""
    for number, bank in enumerate(layer.mlp.experts for layer in model.model.layers):
        noise = torch.Generator().manual_seed(number)
        bank.weight_out.data += 0.3 * torch.randn(bank.weight_out.shape, generator=noise)
    return model


def stage(**changes: Any) -> Stage:
    """Ten steps of eight rows."""
    return make_stage(tokens=1280, **changes)


def setting(name: str) -> tuple[Any, Stage]:
    """Return the model and the stage of a setting."""
    plain = ("experts", "routers", "token_rows")
    if name.startswith("ct"):
        model = separated(graft_model(tiny_model(), MoECT(new_experts=4)))
        trains = ("experts", "routers", "gates")
        return model, stage(trains=trains, losses={"balance": 0.01}, lr=1e-3)
    if name.startswith("full"):
        return graft_model(tiny_model(), Full()), stage(trains="everything", losses={}, lr=1e-3)
    if name.startswith("review"):
        return separated(grafted()), stage(trains=("routers",), losses={"prior": 0.1})
    if name.startswith("odd"):
        method = MoELPR(new_experts=3, token_rows="rare")
        model = separated(graft_model(tiny_model(), method, rare_tokens=RARE))
        return model, stage(trains=plain, lr=1e-3)
    method = MoELPR(new_experts=4, token_rows="rare")
    if name.startswith("retain"):  # some processes have rows that the base cannot read
        model, its_stage = with_new_tokens()
        losses = {"balance": 0.01, "retain": 3.0}
        return separated(model), its_stage.model_copy(
            update={"tokens": 1280, "losses": losses, "lr": 1e-3}
        )
    return separated(graft_model(tiny_model(), method, rare_tokens=RARE)), stage(trains=plain)


class Stopping:
    """Sends this process SIGTERM in a step, as torchrun does to all."""

    def __init__(self, loader: Any, step: int, batch_rows: int) -> None:
        self._loader, self._sample = loader, (step - 1) * batch_rows

    def rows(self, samples: range) -> Any:
        if samples.start >= self._sample:
            os.kill(os.getpid(), signal.SIGTERM)
        return self._loader.rows(samples)


class Collectives(TorchDispatchMode):
    """Counts what the processes exchange, by kind."""

    def __init__(self) -> None:
        super().__init__()
        self.counts = Counter[str]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace in ("c10d", "_c10d_functional"):
            self.counts[func._schema.name.partition("::")[2]] += 1
        return func(*args, **(kwargs or {}))


def train(name: str, text: Path, folder: Path, processes: Processes, stop_after: int) -> None:
    """Train one setting and write what was communicated."""
    torch.set_num_threads(1)
    chunked_loss.CHUNK_TOKENS_CPU = 10 if "chunked" in name else 512
    at = folder / name
    if processes.is_leader:
        at.mkdir(parents=True, exist_ok=True)
    processes.barrier()
    key = name.partition("+")[2]
    changes = {
        "batch_rows": 8,
        "micro_rows": 2 if "micro2" in name else 1,
        "activation_checkpointing": "recomputed" in name,
        "mesh": MESHES.get(key, {}) if processes.world_size > 1 else {},
    }
    loader: Any = make_loader(text)
    if stop_after:
        loader = Stopping(loader, stop_after, 8)
    model, its_stage = setting(name)
    if "bfloat16" in name:
        model.to(torch.bfloat16)
        changes["dtype"] = "bfloat16"
    with Collectives() as talk:
        try:
            train_stage(
                model,
                stage=its_stage,
                training=training(**changes),
                languages=LANGUAGES,
                loader=loader,
                seed=0,
                folder=at,
                processes=processes,
                console=Console(quiet=True),
            )
        except InterruptedRunError:
            assert stop_after
    if processes.is_leader:
        (at / "collectives.json").write_text(json.dumps(talk.counts), encoding="utf-8")


ON_META: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "unloaded-untied": ("llama", {"tie_word_embeddings": False}, {"rare_tokens": RARE}),
    "unloaded-tied+expert": ("llama", {"tie_word_embeddings": True}, {"rare_tokens": RARE}),
    "unloaded-conv1d-adapted": ("gpt2", {}, {}),
    "unloaded-extended": (
        "qwen2",
        {"vocab_size": 230, "tie_word_embeddings": True},
        {"tokenizer": Extension(first_new_id=230, pieces=((7, 8), (9, 10, 11), (12, 3)))},
    ),
}


def fill(name: str, folder: Path, processes: Processes) -> None:
    """Fill a sharded graft that was built without weights and compare it with a whole one."""
    family, changes, settings = ON_META[name]
    base = folder / name / "base"
    if processes.is_leader:
        tiny_model(family, **changes).save_pretrained(base)
    processes.barrier()
    token_rows = "rare" if "rare_tokens" in settings else "frozen"
    rank = 2 if "adapted" in name else 0
    method = MoELPR(new_experts=4, token_rows=token_rows, attention_rank=rank, output_rank=rank)
    whole = graft_model(load_base(base), method, **settings)
    unloaded = graft_on_meta(base, method, dtype=torch.float32, **settings)
    root = TokenLosses(unloaded.model)
    mesh = Mesh.model_validate(MESHES.get(name.partition("+")[2], {}))
    shard_model(root, processes, training(mesh=mesh))
    load_shards(unloaded.model, unloaded.sources, processes.device)
    expected = dict(whole.named_parameters())
    found: Any
    for key, found in unloaded.model.named_parameters():
        assert torch.equal(found.full_tensor(), expected.pop(key)), key
    assert not expected
    for key, buffer in whole.named_buffers():
        assert torch.equal(unloaded.model.get_buffer(key), buffer), key
    (folder / name / f"filled-{processes.rank}").touch()


def main() -> None:
    """Carry out all settings that are asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("text", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--stop-after", type=int, default=0)
    asked = parser.parse_args()
    processes = join_processes()
    for name in asked.names:
        if name in ON_META:
            fill(name, asked.folder, processes)
            continue
        train(name, asked.text, asked.folder, processes, asked.stop_after)


if __name__ == "__main__":
    main()
