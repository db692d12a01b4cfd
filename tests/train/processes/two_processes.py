"""Run by torchrun: trains the stage of ``test_train_stage`` in several settings."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from rich.console import Console
from stage_setup import (
    LANGUAGES,
    expanded_again,
    gauge_on,
    grafted,
    make_loader,
    stage,
    training,
    with_new_tokens,
)

from langraft.train.compute import chunked_loss
from langraft.train.loop import train_stage
from langraft.train.processes.group import join_processes

SETTINGS = {
    "plain": {},
    "chunked": {},
    "recomputed": {"activation_checkpointing": True},
    "bfloat16": {"dtype": "bfloat16"},
    "steady": {"dtype": "bfloat16", "keep_float32": ["residual", "attention"], "z_loss": 1e-3},
    "expanded": {"activation_checkpointing": True},
    "extended": {},
    "chat": {},
}


def main(folder: Path) -> None:
    processes = join_processes()
    torch.set_num_threads(1)
    whole = chunked_loss.CHUNK_TOKENS_CPU
    for name, settings in SETTINGS.items():
        is_chunked = name in ("chunked", "expanded", "extended")
        chunked_loss.CHUNK_TOKENS_CPU = 10 if is_chunked else whole
        at = folder / name
        if processes.is_leader:
            at.mkdir(parents=True)
        processes.barrier()
        makers = {"expanded": expanded_again, "extended": with_new_tokens}
        model, trained_stage = makers[name]() if name in makers else (grafted(), stage())
        if settings.get("dtype") == "bfloat16":
            model.to(torch.bfloat16)
        loader = make_loader(folder.parent / ("chats" if name == "chat" else "shards"))
        train_stage(
            model,
            stage=trained_stage,
            training=training(**settings),
            languages=LANGUAGES,
            loader=loader,
            seed=0,
            folder=at,
            processes=processes,
            console=Console(quiet=True),
            gauge=gauge_on(loader),
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
