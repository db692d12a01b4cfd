"""A stage on random tokens of two languages, for the tests of the loop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from langraft.chat.packing import RowPacker
from langraft.chat.template import ChatExample
from langraft.core.settings.languages import Languages
from langraft.core.settings.stage import Stage
from langraft.core.settings.training import Training
from langraft.corpus.storage.shards import ShardWriter, TokenShards
from langraft.curriculum.index import MixtureIndex
from langraft.curriculum.loader import Batch, PackedLoader
from langraft.curriculum.schedule import MixtureSchedule
from langraft.graft.methods.moe_lpr import MoELPR
from langraft.graft.surgery import graft_model
from langraft.tokenizers.extension import Extension
from langraft.train.loop import Gauge
from tiny import VOCAB_SIZE, tiny_model

LANGUAGES = Languages(original=("en",), new=("el",))
MIXTURE = {"en": 1.0, "el": 3.0}
RARE = tuple(range(100, VOCAB_SIZE, 2))


def write_shards(folder: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    for number, code in enumerate(MIXTURE):
        writer = ShardWriter(folder / code, VOCAB_SIZE)
        for document in range(30):
            length = 10 + document
            tokens = torch.randint(1, 60, (length,), generator=generator) + 200 * number
            writer.add(tokens.numpy(), f"{code}-{document}")
        writer.close()


def write_chats(folder: Path, padding_id: int = 0) -> None:
    """Pack conversations of two turns in rows that are not full."""
    generator = torch.Generator().manual_seed(0)
    for number, code in enumerate(MIXTURE):
        with RowPacker(ShardWriter(folder / code, VOCAB_SIZE), 16, padding_id) as packer:
            for chat in range(30):
                length = 5 + chat % 9
                tokens = torch.randint(1, 60, (length,), generator=generator) + 200 * number
                is_answer = tuple(n % 3 == 2 or n == length - 1 for n in range(length))
                packer.add(f"{code}-{chat}", [ChatExample(tuple(tokens.tolist()), is_answer)])


def make_loader(folder: Path) -> PackedLoader:
    shards = {code: TokenShards(folder / code) for code in MIXTURE}
    rows = {code: shard.num_tokens // 16 for code, shard in shards.items()}
    index = MixtureIndex(MixtureSchedule(MIXTURE), rows, 0, "extend")
    return PackedLoader(index, shards, LANGUAGES.all, 16)


def stage(**changes: Any) -> Stage:
    values = {
        "name": "extend",
        "tokens": 640,
        "mixture": MIXTURE,
        "trains": ("experts", "routers", "token_rows"),
        "losses": {"balance": 0.01, "prior": 0.1},
        "lr": 3e-2,
    }
    return Stage.model_validate(values | changes)


def training(**changes: Any) -> Training:
    values = {"sequence_length": 16, "batch_rows": 4, "micro_rows": 2, "checkpoint_every": 3}
    return Training.model_validate(values | changes)


def grafted(**changes: Any) -> Any:
    method = MoELPR(new_experts=2, token_rows="rare")
    return graft_model(tiny_model(**changes), method, rare_tokens=RARE)


def expanded_again() -> tuple[Any, Stage]:
    """A graft that was expanded a second time, adapters and all, and a stage that trains that."""
    method = MoELPR(new_experts=2, token_rows="rare", attention_rank=2, output_rank=3)
    model = graft_model(tiny_model(), method, rare_tokens=RARE)
    graft_model(model, method, rare_tokens=RARE[::2], seed=1)
    losses = {"balance": 0.01, "prior": 0.1, "prior_new": 0.1}
    return model, stage(trains=("experts", "routers", "adapters", "token_rows"), losses=losses)


def with_new_tokens() -> tuple[Any, Stage]:
    """A graft on tied matrices for which half of the second language's tokens are new."""
    method = MoELPR(new_experts=2, token_rows="rare", output_rank=3)
    extension = Extension(first_new_id=230, pieces=((7, 8),) * (VOCAB_SIZE - 230))
    model = graft_model(
        tiny_model(vocab_size=230, tie_word_embeddings=True),
        method,
        rare_tokens=[token for token in RARE if token < 230],
        tokenizer=extension,
    )
    return model, stage(trains=("experts", "routers", "adapters", "token_rows", "new_rows"))


def gauge_on(loader: PackedLoader) -> Gauge:
    """Measures the mean loss of the first rows every five steps."""

    def measure(losses_of: Callable[[Batch], Tensor]) -> dict[str, float]:
        with torch.no_grad():
            return {"el": float(losses_of(loader.rows(range(4))).mean())}

    return Gauge(every_tokens=320, measure=measure)
