"""``retain``: original languages are held to the base, which is the graft with its guard closed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from stage_setup import (
    LANGUAGES,
    expanded_again,
    grafted,
    make_loader,
    stage,
    training,
    with_new_tokens,
    write_shards,
)
from torch import Tensor, nn

from langraft.core.errors import RecipeError
from langraft.curriculum.loader import IGNORED, Batch, PackedLoader
from langraft.graft.methods.full import Full
from langraft.graft.methods.moe_ct import MoECT
from langraft.graft.methods.moe_lpr import MoELPR
from langraft.graft.surgery import graft_model
from langraft.recipes.load import load_recipe
from langraft.train.compute import chunked_loss
from langraft.train.log import read_log
from langraft.train.loop import train_stage
from langraft.train.prepare import PreparedStage, prepare_stage
from langraft.train.processes.group import Processes
from langraft.train.retain import base_opinion
from langraft.train.step import forward_backward
from tiny import DECODERS, VOCAB_SIZE, tiny_model

SOLO = Processes(0, 1, torch.device("cpu"))
WEIGHT = 3.0
ONE = torch.ones(())
RETAINED = {"balance": 0.01, "retain": WEIGHT}


def prepared(model: Any, **changes: Any) -> PreparedStage:
    return prepare_stage(
        model,
        stage=stage(**{"losses": RETAINED} | changes),
        training=training(),
        languages=LANGUAGES,
        processes=SOLO,
        console=Console(quiet=True),
        sources=None,
    )


def batch(*, original_rows: int = 1, most: int = VOCAB_SIZE) -> Batch:
    """Three rows of two documents, the first ones in the original language."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, most, (3, 16), generator=generator)
    positions = torch.arange(16).repeat(3, 1)
    positions[:, 9:] -= 9
    labels = ids.roll(-1, 1)
    labels[:, [8, 15]] = IGNORED
    languages = torch.ones_like(ids)
    languages[:original_rows] = 0
    return Batch(ids, labels, positions, languages, torch.ones_like(ids).bool())


def moved(model: Any, amount: float = 0.3) -> Any:
    """Move all that trains away from its start."""
    for number, parameter in enumerate(p for p in model.parameters() if p.requires_grad):
        noise = torch.Generator().manual_seed(number)
        parameter.data += amount * torch.randn(parameter.shape, generator=noise)
    return model


def from_all_logits(model: Any, base: Any, text: Batch) -> Tensor:
    """Return the loss from the logits of the graft and of a separate base at once."""
    inputs = {"input_ids": text.input_ids, "position_ids": text.position_ids}
    logits = model(**inputs, use_cache=False).logits.flatten(0, 1)
    with torch.no_grad():
        of_base = base(**inputs, use_cache=False).logits.flatten(0, 1).log_softmax(-1)
    divergence = (of_base.exp() * (of_base - logits.log_softmax(-1))).sum(-1)
    labels = text.labels.flatten()
    nats = nn.functional.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="none")
    is_retained = (text.language_ids.flatten() == 0) & (labels != IGNORED)
    return torch.where(is_retained, WEIGHT * divergence, nats).sum()


def ct_graft(**changes: Any) -> Any:
    return graft_model(tiny_model(**changes), MoECT(new_experts=2, token_rows="frozen"))


@pytest.mark.parametrize("make", [grafted, ct_graft])
@pytest.mark.parametrize("original_rows", [0, 1, 3])
def test_loss_and_gradient_are_those_of_all_logits_of_two_models(
    make: Callable[[], Any], original_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunked_loss, "CHUNK_TOKENS_CPU", 7)
    model, text = make(), batch(original_rows=original_rows)
    ready = prepared(model, trains=("experts", "routers"))
    moved(model)
    opinion = base_opinion(ready, text, ONE)
    assert (opinion is None) == (original_rows == 0)
    found = ready.token_losses(text, opinion)
    expected = from_all_logits(model, tiny_model(), text)
    torch.testing.assert_close(found.total, expected, rtol=1e-5, atol=1e-4)
    trained = [p for p in model.parameters() if p.requires_grad]
    for one, other in zip(
        torch.autograd.grad(found.total * 0.4, trained),
        torch.autograd.grad(expected * 0.4, trained),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model_type", DECODERS)
def test_at_the_start_a_graft_does_not_diverge_from_its_base(model_type: str) -> None:
    model = graft_model(tiny_model(model_type), MoELPR(new_experts=2))
    ready = prepared(model, trains=("experts", "routers"))
    text = batch(original_rows=2)
    opinion = base_opinion(ready, text, ONE)
    assert model.training, "the base answers without dropout, the graft trains with it"
    model.eval()
    found = ready.token_losses(text, opinion)
    assert found.divergence_T.abs().max() < 1e-5
    assert found.nats_T[:32].sum() > 1


def test_a_second_expansion_is_held_to_the_first() -> None:
    model, its_stage = expanded_again()
    ready = prepared(model, trains=its_stage.trains)
    text = batch(original_rows=2)
    moved(model)
    opinion = base_opinion(ready, text, ONE)
    assert opinion is not None
    inputs = {"input_ids": text.input_ids, "position_ids": text.position_ids}
    with torch.no_grad():
        with ready.info.guard.guarding([True] * 3):
            of_base = model(**inputs, use_cache=False).logits.flatten(0, 1)[:32].log_softmax(-1)
        logits = model(**inputs, use_cache=False).logits.flatten(0, 1)[:32].log_softmax(-1)
        found = ready.token_losses(text, opinion)
    expected = (of_base.exp() * (of_base - logits)).sum(-1)
    is_retained = text.labels.flatten()[:32] != IGNORED
    assert expected[is_retained].min() > 1e-4
    torch.testing.assert_close(
        found.divergence_T[:32], expected * is_retained, rtol=1e-4, atol=1e-5
    )


def test_what_the_base_cannot_read_keeps_its_next_token_loss() -> None:
    model, its_stage = with_new_tokens()
    ready = prepared(model, trains=its_stage.trains)
    text = batch(original_rows=2, most=200)
    text.input_ids[1, 3] = 240  # a token that the extended tokenizer added
    text.labels[1, 2] = 240
    opinion = base_opinion(ready, text, ONE)
    assert opinion is not None
    assert opinion.logits_of(torch.tensor([0, 20])).shape == (2, 230)
    found = ready.token_losses(moved_to(ready, text), opinion)
    is_retained = found.divergence_T.view(3, -1) != 0
    expected = text.labels != IGNORED
    expected[1, 2:9] = False  # up to the end of its document
    expected[2] = False
    assert is_retained.tolist() == expected.tolist()


def moved_to(ready: PreparedStage, text: Batch) -> Batch:
    moved(ready.model)
    return text


@pytest.fixture
def loader(tmp_path: Path) -> PackedLoader:
    write_shards(tmp_path / "shards")
    return make_loader(tmp_path / "shards")


def test_its_weight_does_not_depend_on_the_share_of_replay() -> None:
    gradients: list[Tensor] = []
    for copies in (1, 3):
        model = grafted()
        ready = prepared(model, trains=("experts", "routers"), losses={"retain": WEIGHT})
        moved(model)
        text = batch(original_rows=1)
        new_rows = Batch(*(part[1:] for part in text_parts(text)))
        step = [text.take(torch.tensor([0])), *[new_rows] * copies]
        forward_backward(ready, step)
        bank = next(p for n, p in model.named_parameters() if n.endswith("experts.weight_out"))
        assert bank.grad is not None
        gradients.append(bank.grad)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-3, atol=1e-6)


def text_parts(text: Batch) -> tuple[Tensor, ...]:
    return text.input_ids, text.labels, text.position_ids, text.language_ids, text.is_token


def test_training_with_it_stays_nearer_to_the_base_and_says_how_near(
    loader: PackedLoader, tmp_path: Path
) -> None:
    text = loader.rows(range(40))
    rows = (text.language_ids[:, 0] == 0).nonzero().squeeze(1)
    divergences: list[float] = []
    for name, losses in (("plain", {"balance": 0.01}), ("retained", RETAINED)):
        model, folder = grafted(), tmp_path / name
        folder.mkdir()
        train_stage(
            model,
            stage=stage(losses=losses, tokens=2560),
            training=training(),
            languages=LANGUAGES,
            loader=loader,
            seed=0,
            folder=folder,
            processes=SOLO,
            console=Console(quiet=True),
        )
        original = text.take(rows)
        with torch.no_grad():
            ready = prepared(model)
            found = ready.token_losses(original, base_opinion(ready, original, ONE))
        divergences.append(float(found.divergence_T.sum()))
        of_steps = [record.get("divergence") for record in read_log(folder)]
        assert all(each is None for each in of_steps) == (name == "plain")
    assert divergences[1] < 0.5 * divergences[0]
    assert of_steps[0]["en"] < 1e-6 < of_steps[-1]["en"]


def test_it_is_refused_where_there_is_no_base_or_no_text_to_hold_to(
    small_recipe: dict[str, Any], tmp_path: Path
) -> None:
    import yaml

    def load(**changes: Any) -> None:
        first = {"name": "extend", "tokens": 64, "mixture": {"el": 1}, "losses": {"retain": 1.0}}
        recipe = small_recipe | {"stages": [first | changes], "baselines": []}
        (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe))
        load_recipe(tmp_path / "r.yaml")

    load(mixture={"el": 1, "en": 1})
    with pytest.raises(RecipeError, match=r"stages\[0\]\.losses: retain holds .*such as en: 4"):
        load()
    with pytest.raises(RecipeError, match="`trains: everything` changes"):
        load(mixture={"el": 1, "en": 1}, trains="everything")
    everything = {"name": "all", "tokens": 64, "mixture": {"el": 1}, "trains": "everything"}
    retained = {"name": "extend", "tokens": 64, "mixture": {"en": 1}, "losses": {"retain": 1.0}}
    recipe = small_recipe | {"stages": [everything, retained], "baselines": []}
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe))
    with pytest.raises(RecipeError, match=r"stages\[1\]\.losses: retain .* stage 'all' trains"):
        load_recipe(tmp_path / "r.yaml")
    with pytest.raises(ValueError, match="full has: none"):
        Full().complete_stage(stage(trains=None, losses={"retain": 1.0}))
