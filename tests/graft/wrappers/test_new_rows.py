"""Rows of new tokens: what the base gives stays, what is new trains, and all of it is kept."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from langraft.core.errors import ArtifactError, ModelError, ShapeError
from langraft.core.settings.languages import Languages
from langraft.curriculum.loader import Batch
from langraft.graft.description import tokenizer_folder
from langraft.graft.freeze import fingerprint_frozen, parameter_groups, set_trainable
from langraft.graft.methods import METHODS
from langraft.graft.methods.full import Full
from langraft.graft.methods.moe_ct import MoECT
from langraft.graft.methods.moe_lpr import MoELPR
from langraft.graft.store import load, save
from langraft.graft.surgery import detach_expansion, graft_info, graft_model
from langraft.graft.wrappers.base import frozen_module
from langraft.tokenizers.extension import Extension, extend_tokenizer
from langraft.train.compute import chunked_loss
from tiny import DECODERS, VOCAB_SIZE, free_columns, tiny_model

NEW = 11
EXTENSION = Extension(
    first_new_id=VOCAB_SIZE,
    pieces=tuple((5 + number, 9, 300 - number)[: 1 + number % 3] for number in range(NEW)),
)
RARE = range(0, VOCAB_SIZE, 3)
METHOD = MoELPR(new_experts=2, token_rows="rare", attention_rank=2, output_rank=3)
LANGUAGES = Languages(original=("en",), new=("el", "hu"))


def old_ids() -> torch.Tensor:
    return torch.randint(1, VOCAB_SIZE, (4, 12), generator=torch.Generator().manual_seed(1))


def mixed_ids() -> torch.Tensor:
    ids = old_ids()
    ids[1:, ::3] = (
        torch.arange(VOCAB_SIZE, VOCAB_SIZE + 12).reshape(3, 4).clamp(max=VOCAB_SIZE + NEW - 1)
    )
    return ids  # row 0 has old tokens alone


def extended(model: Any, method: Any = METHOD) -> Any:
    rare = RARE if method.token_rows == "rare" else ()
    return graft_model(model, method, rare_tokens=rare, tokenizer=EXTENSION, languages=LANGUAGES)


def moved(model: Any) -> Any:
    """Move everything that the last expansion brought."""
    for group, parameters in parameter_groups(model).items():
        for number, parameter in enumerate(parameters.values()):
            noise = torch.Generator().manual_seed(number)
            with torch.no_grad():
                if group not in ("base", "earlier"):
                    parameter.add_(0.3 * torch.randn(parameter.shape, generator=noise))
    return model.eval()


@torch.no_grad()
def logits(model: Any, ids: torch.Tensor) -> torch.Tensor:
    return model.eval()(input_ids=ids, use_cache=False).logits


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("family", list(DECODERS))
def test_at_step_0_old_tokens_get_the_logits_of_the_base(family: str, tied: bool) -> None:
    base = tiny_model(family, tie_word_embeddings=tied)
    found = logits(extended(copy.deepcopy(base)), old_ids())
    assert found.shape[-1] == VOCAB_SIZE + NEW
    torch.testing.assert_close(
        found[..., :VOCAB_SIZE], logits(base, old_ids()), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("family", ["llama", "gemma2", "gemma3_text", "gpt2", "granite"])
def test_new_tokens_begin_between_their_pieces(family: str, tied: bool) -> None:
    """As module outputs, so that scaled embeddings are scaled for new tokens too."""
    base = tiny_model(family, tie_word_embeddings=tied)
    model = extended(copy.deepcopy(base), MoELPR(token_rows="rare"))
    embed, embed_base = model.get_input_embeddings(), base.get_input_embeddings()
    hidden = torch.randn(1, 16, generator=torch.Generator().manual_seed(0))
    of_base, found = base.get_output_embeddings()(hidden), model.get_output_embeddings()(hidden)
    everything = embed_base(torch.arange(VOCAB_SIZE)).mean(0)
    for number, pieces in enumerate(EXTENSION.pieces):
        rows = embed_base(torch.tensor(pieces))
        expected = 0.75 * rows.mean(0) + 0.25 * everything
        if not tied:
            expected = 0.5 * rows.mean(0) + 0.5 * rows[-1]
        embedded = embed(torch.tensor([[VOCAB_SIZE + number]]))[0, 0]
        torch.testing.assert_close(embedded, expected)
        logit = 0.75 * of_base[0, list(pieces)].mean() + 0.25 * of_base.mean()
        torch.testing.assert_close(found[0, VOCAB_SIZE + number], logit, atol=1e-5, rtol=1e-5)
    assert len(parameter_groups(model)["new_rows"]) == (1 if tied else 2)


@pytest.mark.parametrize("family", list(DECODERS))
def test_a_guarded_sequence_gets_the_bits_of_the_base_and_no_new_token(family: str) -> None:
    base = tiny_model(family)
    model = moved(extended(copy.deepcopy(base)))
    expected = logits(base, old_ids())
    for is_guarded in ([True] * 4, [True, False, True, False]):
        with graft_info(model).guard.guarding(is_guarded):
            found = logits(model, old_ids())
        rows = torch.tensor(is_guarded)
        assert torch.equal(found[rows][..., :VOCAB_SIZE], expected[rows])
        assert (found[rows][..., VOCAB_SIZE:] == -torch.inf).all()
        if not all(is_guarded):
            assert found[~rows].isfinite().all()


def test_a_guarded_sequence_with_new_tokens_is_refused() -> None:
    model = extended(tiny_model())
    with graft_info(model).guard.guarding([True, False, False, False]):
        assert logits(model, mixed_ids()).shape[0] == 4  # the guarded one has none
    with (
        graft_info(model).guard.guarding([False, True, False, False]),
        pytest.raises(ModelError, match=r"new tokens \(ids from 320\).*tokenizer of the base"),
    ):
        logits(model, mixed_ids())
    with graft_info(model).guard.guarding([True]), pytest.raises(ShapeError, match="names 1"):
        logits(model, mixed_ids())


def train(model: Any, trains: Any, token_rows: Any = "rare") -> dict[str, Any]:
    trained = set_trainable(model, trains, token_rows=token_rows)
    optimizer = torch.optim.AdamW(trained.values(), lr=1e-2, weight_decay=0.1)
    for _ in range(3):
        model(input_ids=mixed_ids(), labels=mixed_ids(), use_cache=False).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return trained


@pytest.mark.parametrize("tied", [True, False])
def test_new_rows_train_and_old_rows_are_bit_identical_afterwards(tied: bool) -> None:
    model = extended(tiny_model(tie_word_embeddings=tied))
    matrices = (model.get_input_embeddings(), model.lm_head)
    old = {id(m.weight): m.weight for m in map(frozen_module, matrices)}
    before = {key: weight.detach().clone() for key, weight in old.items()}
    rows = {n: p.detach().clone() for n, p in parameter_groups(model)["new_rows"].items()}
    assert len(old) == len(rows) == (1 if tied else 2)
    set_trainable(model, ("experts", "new_rows"), token_rows="rare")
    fingerprint = fingerprint_frozen(model)
    train(model, ("experts", "new_rows"))
    assert fingerprint_frozen(model) == fingerprint
    assert all(torch.equal(weight, before[key]) for key, weight in old.items())
    for name, parameter in parameter_groups(model)["new_rows"].items():
        assert not torch.equal(parameter, rows[name])
    with torch.no_grad():
        next(iter(old.values()))[7, 3] += 1e-7
    assert fingerprint_frozen(model) != fingerprint


def test_the_loss_by_chunks_reaches_new_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    model = moved(extended(tiny_model()))
    positions = torch.arange(12).expand(4, -1)
    batch = Batch(
        **dict.fromkeys(Batch.__dataclass_fields__, mixed_ids())
        | {"input_ids": mixed_ids(), "labels": mixed_ids(), "position_ids": positions}
    )
    whole = chunked_loss.token_losses(model, batch)
    monkeypatch.setattr(chunked_loss, "CHUNK_TOKENS_CPU", 5)
    torch.testing.assert_close(chunked_loss.token_losses(model, batch), whole, atol=1e-5, rtol=1e-5)
    assert whole.isfinite().all()


# Folders


@pytest.fixture
def folders(save_base: Callable[..., Path], tmp_path: Path) -> tuple[Path, Path]:
    """Return a tiny base and its tokenizer, extended on Greek."""
    base = save_base()
    texts = {"el": ["το σπίτι είναι δίπλα στο ποτάμι"] * 9, "ka": ["სახლი მდინარესთან დგას"] * 9}
    extend_tokenizer(base, tmp_path / "extended", texts=texts, num_new_tokens=24)
    return base, tmp_path / "extended"


@pytest.mark.parametrize("method", list(METHODS))
def test_every_method_saves_and_loads_new_rows_and_the_tokenizer(
    method: str, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    base, tokenizer = folders
    settings = METHODS[method].model_validate({"new_blocks": 1} if method == "llama_pro" else {})
    model = tiny_model()
    graft_model(model, settings, tokenizer=tokenizer, free_columns=free_columns(model, settings))
    everything = settings.name in ("full", "moe_full", "ssu")
    groups = parameter_groups(model)
    train(model, "everything" if everything else tuple(g for g in groups if g != "base"), "all")
    graft_info(model).is_base_changed = everything
    save(model, tmp_path / "graft", base=base)
    ids = torch.tensor([[5, 9, VOCAB_SIZE, VOCAB_SIZE + 23]])
    found = load(tmp_path / "graft")
    torch.testing.assert_close(logits(found, ids), logits(model, ids))
    kept = tokenizer_folder(tmp_path / "graft")
    assert kept == tmp_path / "graft" / "tokenizer"
    assert Extension.read(kept).tokens == Extension.read(tokenizer).tokens
    text = "το σπίτι, the house"
    theirs, ours = (AutoTokenizer.from_pretrained(f)(text).input_ids for f in (tokenizer, kept))
    assert ours == theirs
    save(found, tmp_path / "graft", base=base)  # over itself
    torch.testing.assert_close(logits(load(tmp_path / "graft"), ids), logits(model, ids))
    (kept / "extension.json").unlink()
    with pytest.raises(ArtifactError, match=r"extension\.json"):
        load(tmp_path / "graft")


def test_an_extension_of_another_base_is_refused(folders: tuple[Path, Path]) -> None:
    larger = tiny_model(vocab_size=VOCAB_SIZE + 1)
    with pytest.raises(ModelError, match="ids from 320; this base has 321 embedding rows"):
        graft_model(larger, MoELPR(), tokenizer=folders[1])


# Several expansions


def test_a_second_expansion_keeps_the_extension_and_refuses_another(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    base, tokenizer = folders
    first = graft_model(
        tiny_model(), METHOD, rare_tokens=RARE, tokenizer=tokenizer, languages=LANGUAGES
    )
    save(moved(first), tmp_path / "first", base=base)
    ids = torch.tensor([[5, 9, VOCAB_SIZE, VOCAB_SIZE + 7], [5, 9, 8, 3]])
    expected = logits(first, ids)
    with pytest.raises(ModelError, match="a model holds one extension"):
        graft_model(load(tmp_path / "first"), METHOD, rare_tokens=RARE, tokenizer=tokenizer)
    later = Languages(original=("en", "el", "hu"), new=("tr",))
    rare = range(1, VOCAB_SIZE, 4)
    second = graft_model(
        load(tmp_path / "first"), METHOD, rare_tokens=rare, languages=later, seed=1
    )
    assert "new_rows" not in parameter_groups(second)  # they are the earlier graft's
    moved(second)
    save(second, tmp_path / "second", base=tmp_path / "first")
    again = load(tmp_path / "second")
    torch.testing.assert_close(logits(again, ids), logits(second, ids))
    assert not torch.allclose(logits(second, ids), expected, atol=1e-3)
    with graft_info(again).guard.guarding([True, True]):
        assert torch.equal(logits(again, ids), expected)
    detach_expansion(again)
    assert torch.equal(logits(again, ids), expected)


def test_a_second_expansion_may_bring_the_extension_and_take_it_away_again() -> None:
    base = tiny_model()
    first = moved(graft_model(copy.deepcopy(base), METHOD, rare_tokens=RARE, languages=LANGUAGES))
    expected = logits(first, old_ids())
    second = moved(extended(first))
    ids = mixed_ids()
    assert logits(second, ids).shape[-1] == VOCAB_SIZE + NEW
    with graft_info(second).guard.guarding([True] * 4):
        found = logits(second, old_ids())
    assert torch.equal(found[..., :VOCAB_SIZE], expected)
    detach_expansion(second)
    assert torch.equal(logits(second, old_ids()), expected)
    assert second.config.vocab_size == VOCAB_SIZE


@pytest.mark.parametrize("method", [Full(), MoECT(new_experts=2, output_rank=2)])
def test_new_tokens_can_be_generated(method: Any) -> None:
    model = extended(tiny_model(), method)
    with torch.no_grad():
        model.get_output_embeddings().new_rows.weight.mul_(100)
    generated = model.generate(old_ids()[:1], max_new_tokens=8, do_sample=False, pad_token_id=0)
    assert (generated[0, 12:] >= VOCAB_SIZE).any()
