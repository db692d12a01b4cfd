"""Ten steps of every method on a fixed seed: what the losses were, so that a change is noticed.

Run as a script it writes tests/data/golden_losses.json anew: only for a change that is meant to
change numerics, which the changelog then says.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from stage_setup import LANGUAGES, MIXTURE, RARE, make_loader, training, write_shards

from langraft.core.settings.stage import Stage
from langraft.graft.methods import METHODS
from langraft.graft.surgery import graft_model
from langraft.train.log import read_log
from langraft.train.loop import train_stage
from langraft.train.processes.group import Processes
from tiny import free_columns, tiny_model

FILE = Path(__file__).parents[1] / "data" / "golden_losses.json"
OPTIONS: dict[str, dict[str, Any]] = {
    "full": {},
    "llama_pro": {"new_blocks": 1, "token_rows": "rare"},
    "lora": {"rank": 2, "alpha": 1, "token_rows": "rare"},
    "moe_ct": {"attention_rank": 2, "output_rank": 3, "token_rows": "rare"},
    "moe_full": {},
    "moe_lpr": {"new_experts": 2, "token_rows": "rare"},
    "ssu": {},
}
# Experts begin as copies, so the first gradient of MoE-CT's router is what rounding leaves, which
# differs between processors, and Adam makes steps of the whole rate of it: a small one keeps them
# from the losses. MoE-LPR's priors outweigh it.
RATES = {"moe_ct": 1e-3}


def losses_of(method: str, folder: Path) -> dict[str, list[float]]:
    """Train ten steps; return loss and gradient norm of each."""
    write_shards(folder / "shards")
    settings = METHODS[method].model_validate(OPTIONS.get(method, {}))
    rare = RARE if settings.token_rows == "rare" else ()
    base = tiny_model()
    columns = free_columns(base, settings)
    rate = RATES.get(method, 1e-2)
    train_stage(
        graft_model(base, settings, rare_tokens=rare, free_columns=columns),
        stage=settings.complete_stage(Stage(name="extend", tokens=640, mixture=MIXTURE, lr=rate)),
        training=training(),
        languages=LANGUAGES,
        loader=make_loader(folder / "shards"),
        seed=0,
        folder=folder,
        processes=Processes(rank=0, world_size=1, device=torch.device("cpu")),
        console=Console(quiet=True),
    )
    rows = read_log(folder)
    return {key: [row[key] for row in rows] for key in ("loss", "gradient_norm")}


def main() -> None:
    golden = {}
    for method in METHODS:
        with tempfile.TemporaryDirectory() as folder:
            golden[method] = losses_of(method, Path(folder))
    FILE.write_text(json.dumps(golden, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
