from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file, save_file
from stage_setup import (
    LANGUAGES,
    RARE,
    expanded_again,
    gauge_on,
    grafted,
    make_loader,
    stage,
    training,
    with_new_tokens,
    write_chats,
    write_shards,
)
from torch.optim.optimizer import register_optimizer_step_post_hook

from langraft.core.errors import ArtifactError, InterruptedRunError, TrainingError
from langraft.core.files import file_sha256, fingerprint
from langraft.curriculum.loader import Batch, PackedLoader
from langraft.graft.methods.full import Full
from langraft.graft.methods.moe_lpr import MoELPR
from langraft.graft.surgery import graft_info, graft_model
from langraft.train import checkpoint
from langraft.train.log import read_log
from langraft.train.loop import WEIGHTS, Gauge, StageResult, train_stage
from langraft.train.processes.group import Processes
from tiny import tiny_model

SOLO = Processes(0, 1, torch.device("cpu"))


@pytest.fixture
def loader(tmp_path: Path) -> PackedLoader:
    write_shards(tmp_path / "shards")
    return make_loader(tmp_path / "shards")


def train(model: Any, loader: PackedLoader, folder: Path, **changes: Any) -> StageResult:
    settings = {key: changes.pop(key) for key in ("stage", "training") if key in changes}
    folder.mkdir(exist_ok=True)
    return train_stage(
        model,
        stage=settings.get("stage") or stage(),
        training=settings.get("training") or training(),
        languages=LANGUAGES,
        loader=loader,
        seed=0,
        folder=folder,
        processes=SOLO,
        console=Console(quiet=True),
        gauge=changes.get("gauge"),
    )


def same_weights(a: Path, b: Path) -> bool:
    first, second = load_file(a / WEIGHTS), load_file(b / WEIGHTS)
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


class StopAfter:
    """Raises at the start of a step, as a crash would."""

    def __init__(self, loader: PackedLoader, num_steps: int) -> None:
        self._loader, self._left = loader, num_steps

    def rows(self, samples: range) -> Any:
        if samples.start >= self._left * 4:
            raise KeyboardInterrupt
        return self._loader.rows(samples)


def train_until_crash(loader: PackedLoader, num_steps: int, folder: Path, **settings: Any) -> None:
    """Train a graft that stops after some steps as a crash would stop it."""
    broken: Any = StopAfter(loader, num_steps)
    with pytest.raises(KeyboardInterrupt):
        train(grafted(), broken, folder, **settings)


@contextmanager
def after_step(number: int, act: Callable[[], object]) -> Iterator[None]:
    """Act once the optimizer has taken this many steps: between steps, whatever is read ahead."""
    taken = 0

    def count(*_: Any) -> None:
        nonlocal taken
        taken += 1
        if taken == number:
            act()

    hook = register_optimizer_step_post_hook(count)
    try:
        yield
    finally:
        hook.remove()


def test_training_lowers_the_loss_and_logs_every_step(loader: PackedLoader, tmp_path: Path) -> None:
    result = train(grafted(), loader, tmp_path / "run")
    records = read_log(tmp_path / "run")
    assert [r["step"] for r in records] == list(range(1, 11))
    assert records[-1]["loss"] < records[0]["loss"]
    assert records[-1]["tokens"] == result.num_tokens == 640
    assert set(records[0]["loss_by_language"]) == {"en", "el"}
    assert set(records[0]["expert_0"]) == {"en", "el"}
    assert 0 < records[0]["original_rows"] < 1
    assert set(records[0]["side_losses"]) == {"balance", "prior"}
    assert records[0]["side_losses"]["balance"] == pytest.approx(1.0, abs=0.5)


@pytest.mark.parametrize("crash_after", [1, 3, 5, 9])
def test_a_resumed_stage_equals_an_uninterrupted_one_bit_for_bit(
    loader: PackedLoader, tmp_path: Path, crash_after: int
) -> None:
    train(grafted(), loader, tmp_path / "whole")
    train_until_crash(loader, crash_after, tmp_path / "resumed")
    train(grafted(), loader, tmp_path / "resumed")
    assert same_weights(tmp_path / "whole", tmp_path / "resumed")
    assert [r["step"] for r in read_log(tmp_path / "resumed")] == list(range(1, 11))
    losses = [[r["loss"] for r in read_log(tmp_path / name)] for name in ("whole", "resumed")]
    assert losses[0] == losses[1]


def test_a_resumed_chat_stage_equals_an_uninterrupted_one_bit_for_bit(tmp_path: Path) -> None:
    write_chats(tmp_path / "chats")
    chats = make_loader(tmp_path / "chats")
    train(grafted(), chats, tmp_path / "whole")
    train_until_crash(chats, 5, tmp_path / "resumed")
    train(grafted(), chats, tmp_path / "resumed")
    assert same_weights(tmp_path / "whole", tmp_path / "resumed")


def test_padding_counts_nowhere(tmp_path: Path) -> None:
    for padding_id in (0, 77):
        write_chats(tmp_path / f"chats-{padding_id}", padding_id)
        chats = make_loader(tmp_path / f"chats-{padding_id}")
        assert not chats.rows(range(4)).is_token.all()
        train(grafted(), chats, tmp_path / f"run-{padding_id}")
    logs = [read_log(tmp_path / f"run-{padding_id}") for padding_id in (0, 77)]
    for first, second in zip(*logs, strict=True):
        for key in ("loss_by_language", "side_losses", "expert_0"):
            assert first[key] == pytest.approx(second[key], rel=1e-4), key
    one, other = (load_file(tmp_path / f"run-{p}" / WEIGHTS) for p in (0, 77))
    for key, tensor in one.items():
        torch.testing.assert_close(tensor, other[key], atol=1e-5, rtol=1e-4, msg=key)


def test_how_often_checkpoints_are_written_does_not_change_the_result(
    loader: PackedLoader, tmp_path: Path
) -> None:
    train(grafted(), loader, tmp_path / "a", training=training(checkpoint_every=1))
    train(grafted(), loader, tmp_path / "b", training=training(checkpoint_every=100))
    assert same_weights(tmp_path / "a", tmp_path / "b")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_a_checkpoint_and_the_run_goes_on_from_it(
    loader: PackedLoader, tmp_path: Path, number: signal.Signals
) -> None:
    train(grafted(), loader, tmp_path / "whole")

    with (
        after_step(5, lambda: os.kill(os.getpid(), number)),
        pytest.raises(InterruptedRunError, match="after step 5 of 10") as caught,
    ):
        train(grafted(), loader, tmp_path / "run")
    assert caught.value.signal_number == number
    assert (tmp_path / "run/checkpoints/step-00000005/checkpoint.json").is_file()
    train(grafted(), loader, tmp_path / "run")
    assert same_weights(tmp_path / "whole", tmp_path / "run")


def test_a_loss_that_is_not_finite_stops_with_step_documents_and_last_checkpoint(
    loader: PackedLoader, tmp_path: Path
) -> None:
    model = grafted()
    norm = model.get_parameter("model.norm.weight")
    with (
        after_step(4, lambda: torch.nn.init.constant_(norm, float("nan"))),
        pytest.raises(TrainingError) as caught,
    ):
        train(model, loader, tmp_path / "run")
    message = str(caught.value)
    assert "step 5: loss nan" in message
    assert "el/el-" in message
    assert "step-00000003" in message
    assert all(torch.isfinite(t).all() for t in _last_checkpoint(tmp_path / "run").values())


def _last_checkpoint(folder: Path) -> dict[str, torch.Tensor]:
    newest = sorted((folder / "checkpoints").glob("step-*"))[-1]
    (file,) = newest.glob("*.safetensors")
    kept = load_file(file)
    return {
        name.removeprefix("parameters."): tensor
        for name, tensor in kept.items()
        if name.startswith("parameters.")
    }


def test_a_checkpoint_with_a_flipped_byte_is_refused_and_the_one_before_works(
    loader: PackedLoader, tmp_path: Path
) -> None:
    train(grafted(), loader, tmp_path / "whole")
    train_until_crash(loader, 8, tmp_path / "run")
    newest = tmp_path / "run/checkpoints/step-00000006"
    data = next(newest.glob("*.safetensors"))
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
    with pytest.raises(
        ArtifactError, match=r"step-00000006 is damaged.*goes on from step-00000003"
    ):
        train(grafted(), loader, tmp_path / "run")
    for path in newest.iterdir():
        path.unlink()
    newest.rmdir()
    train(grafted(), loader, tmp_path / "run")
    assert same_weights(tmp_path / "whole", tmp_path / "run")


def test_a_review_checkpoint_holds_routers_only(loader: PackedLoader, tmp_path: Path) -> None:
    review = stage(name="review", trains=("routers",), losses={"prior": 0.1})
    train_until_crash(loader, 5, tmp_path / "run", stage=review)
    names = set(_last_checkpoint(tmp_path / "run"))
    assert names == {f"model.layers.{n}.mlp.router.weight" for n in range(2)}


def test_a_review_stage_moves_routers_and_nothing_else(
    loader: PackedLoader, tmp_path: Path
) -> None:
    model = grafted()
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    review = stage(name="review", trains=("routers",), losses={"prior": 0.1})
    train(model, loader, tmp_path / "run", stage=review)
    moved = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert moved == {f"model.layers.{n}.mlp.router.weight" for n in range(2)}


def test_the_prior_sends_original_tokens_to_the_frozen_expert(
    loader: PackedLoader, tmp_path: Path
) -> None:
    shares = {}
    for weight in (0.0, 3.0):
        asked = stage(
            name="review", trains=("routers",), losses={"prior": weight}, tokens=3200, lr=0.1
        )
        train(grafted(), loader, tmp_path / str(weight), stage=asked)
        shares[weight] = read_log(tmp_path / str(weight))[-1]["expert_0"]
    assert shares[3.0]["en"] > shares[0.0]["en"] + 0.1
    assert shares[3.0]["en"] > shares[3.0]["el"] + 0.1


def test_a_bfloat16_stage_trains_float32_weights_over_an_untouched_bfloat16_base(
    loader: PackedLoader, tmp_path: Path
) -> None:
    model = graft_model(
        tiny_model().to(torch.bfloat16),
        MoELPR(new_experts=2, token_rows="rare"),
        rare_tokens=RARE,
    )
    base = {n: p.detach().clone() for n, p in model.named_parameters() if "base" in n}
    train(model, loader, tmp_path / "run", training=training(dtype="bfloat16"))
    records = read_log(tmp_path / "run")
    assert records[-1]["loss"] < records[0]["loss"]
    assert all(t.dtype == torch.float32 for t in load_file(tmp_path / "run" / WEIGHTS).values())
    for name, parameter in model.named_parameters():
        if name in base:
            assert torch.equal(parameter, base[name])
            assert parameter.dtype == torch.bfloat16


def test_activation_checkpointing_gives_the_same_result(
    loader: PackedLoader, tmp_path: Path
) -> None:
    train(grafted(), loader, tmp_path / "kept")
    recompute = training(activation_checkpointing=True)
    train(grafted(), loader, tmp_path / "recomputed", training=recompute)
    first, second = (load_file(tmp_path / n / WEIGHTS) for n in ("kept", "recomputed"))
    for name, tensor in first.items():
        torch.testing.assert_close(tensor, second[name], atol=1e-5, rtol=1e-4)


def test_gradient_accumulation_equals_one_large_batch(loader: PackedLoader, tmp_path: Path) -> None:
    plain = stage(losses={})
    for name, micro_rows in (("one", 4), ("four", 1)):
        model = grafted()
        # Among exact copies it does not matter where a token goes: the routers' first gradient
        # would be rounding alone, which Adam makes a step as large as any.
        for number, bank in enumerate(layer.mlp.experts for layer in model.model.layers):
            noise = torch.Generator().manual_seed(number)
            bank.weight_out.data += 0.3 * torch.randn(bank.weight_out.shape, generator=noise)
        settings = training(micro_rows=micro_rows)
        train(model, loader, tmp_path / name, stage=plain, training=settings)
    first, second = (load_file(tmp_path / n / WEIGHTS) for n in ("one", "four"))
    for name, tensor in first.items():
        torch.testing.assert_close(tensor, second[name], atol=1e-5, rtol=1e-4)


def test_full_training_moves_every_weight_of_the_base(loader: PackedLoader, tmp_path: Path) -> None:
    model = graft_model(tiny_model(), Full())
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    result = train(model, loader, tmp_path / "run", stage=stage(trains="everything", losses={}))
    assert graft_info(model).is_base_changed
    assert all(not torch.equal(p, before[n]) for n, p in model.named_parameters())
    assert result.num_trained == sum(p.numel() for p in model.parameters())


def test_a_frozen_tensor_that_moves_is_noticed(loader: PackedLoader, tmp_path: Path) -> None:
    model = grafted()

    class Touching(StopAfter):
        def rows(self, samples: range) -> Any:
            if samples.start == 0:
                model.model.layers[0].mlp.base.up_proj.weight.data[0, 0] += 1e-3
            return self._loader.rows(samples)

    touching: Any = Touching(loader, 99)
    with pytest.raises(TrainingError, match="frozen tensor changed"):
        train(model, touching, tmp_path / "run")
    assert not (tmp_path / "run" / WEIGHTS).exists()


def test_batches_that_do_not_divide_among_processes_are_refused(
    loader: PackedLoader, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    with pytest.raises(TrainingError, match="batch_rows 4 is not a multiple of micro_rows 2 x 3"):
        train_stage(
            grafted(),
            stage=stage(),
            training=training(),
            languages=LANGUAGES,
            loader=loader,
            seed=0,
            folder=tmp_path / "run",
            processes=Processes(0, 3, torch.device("cpu")),
            console=Console(quiet=True),
        )


def test_training_off_the_main_thread_works(loader: PackedLoader, tmp_path: Path) -> None:
    done: list[StageResult] = []
    thread = threading.Thread(target=lambda: done.append(train(grafted(), loader, tmp_path / "t")))
    thread.start()
    thread.join(timeout=120)
    assert done[0].num_steps == 10


def test_a_half_written_log_line_is_dropped_on_resuming(
    loader: PackedLoader, tmp_path: Path
) -> None:
    train_until_crash(loader, 5, tmp_path / "run")
    with (tmp_path / "run/log.jsonl").open("a") as file:
        file.write('{"step": 6, "los')
    train(grafted(), loader, tmp_path / "run")
    lines = (tmp_path / "run/log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(1, 11))


def test_resuming_costs_the_same_far_into_a_stage(loader: PackedLoader) -> None:
    started = time.process_time()
    loader.rows(range(10**12, 10**12 + 4))
    assert time.process_time() - started < 1.0


@pytest.mark.slow
@pytest.mark.thorough  # tests/train/processes has two processes against one by default
def test_two_processes_equal_one_however_the_loss_and_the_layers_are_computed(
    loader: PackedLoader, tmp_path: Path
) -> None:
    write_chats(tmp_path / "chats")
    tests = Path(__file__).parent.parent
    path = os.pathsep.join([str(tests), str(tests / "train"), *sys.path])
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run(
        [*torchrun, tests / "train/processes/two_processes.py", tmp_path / "two"],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        check=True,
    )
    train(grafted(), loader, tmp_path / "one", gauge=gauge_on(loader))
    model, its_stage = expanded_again()
    train(model, loader, tmp_path / "one-expanded", stage=its_stage)
    model, its_stage = with_new_tokens()
    train(model, loader, tmp_path / "one-extended", stage=its_stage)
    train(grafted(), make_loader(tmp_path / "chats"), tmp_path / "one-chat")
    for name in ("plain", "chunked", "recomputed", "expanded", "extended", "chat"):
        alone = f"one-{name}" if name in ("expanded", "extended", "chat") else "one"
        one = load_file(tmp_path / alone / WEIGHTS)
        two = load_file(tmp_path / "two" / name / WEIGHTS)
        assert one.keys() == two.keys()
        for key, tensor in one.items():
            torch.testing.assert_close(tensor, two[key], atol=1e-5, rtol=1e-4, msg=f"{name} {key}")
    alone, together = (
        [r["heldout"]["el"] for r in read_log(tmp_path / name) if "heldout" in r]
        for name in ("one", "two/plain")
    )
    assert alone == pytest.approx(together, abs=1e-4)
    assert len(alone) == 2
    for name in ("bfloat16", "steady"):
        records = read_log(tmp_path / "two" / name)
        assert records[-1]["loss"] < records[0]["loss"] - 0.05


def test_a_gauge_reads_the_model_on_the_way_and_changes_nothing(
    loader: PackedLoader, tmp_path: Path
) -> None:
    model, seen = grafted(), list[bool]()

    def measure(losses_of: Callable[[Batch], torch.Tensor]) -> dict[str, float]:
        seen.append(model.training)
        with torch.no_grad():
            assert losses_of(loader.rows(range(2))).shape == (32,)
        return {"el": float(len(seen))}

    gauge = Gauge(every_tokens=190, measure=measure)  # three steps of 64
    train(model, loader, tmp_path / "watched", gauge=gauge)
    train(grafted(), loader, tmp_path / "plain")
    found = {r["step"]: r["heldout"] for r in read_log(tmp_path / "watched") if "heldout" in r}
    assert found == {3: {"el": 1.0}, 6: {"el": 2.0}, 9: {"el": 3.0}, 10: {"el": 4.0}}
    assert not any(seen)
    assert same_weights(tmp_path / "watched", tmp_path / "plain")


def test_a_checkpoint_in_several_files_goes_on_like_one(
    loader: PackedLoader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(grafted(), loader, tmp_path / "whole")
    monkeypatch.setattr(checkpoint, "FILE_BYTES", 20_000)
    train_until_crash(loader, 8, tmp_path / "run")
    assert len(list((tmp_path / "run/checkpoints/step-00000006").glob("*.safetensors"))) > 3
    train(grafted(), loader, tmp_path / "run")
    assert same_weights(tmp_path / "whole", tmp_path / "run")


def test_a_checkpoint_holds_no_pickle_and_none_is_read(
    loader: PackedLoader, tmp_path: Path
) -> None:
    """A file that would run code when it is unpickled, wherever torch would look for one."""
    train_until_crash(loader, 8, tmp_path / "run")
    newest = tmp_path / "run/checkpoints/step-00000006"
    assert {p.suffix for p in newest.iterdir()} == {".json", ".safetensors"}
    ran = tmp_path / "ran"
    description = json.loads((newest / "checkpoint.json").read_text(encoding="utf-8"))
    for name in (".metadata", "__0.metadata", "__0_0.distcp"):
        (newest / name).write_bytes(pickle.dumps(RunsCode(ran)))
        description["files"][name] = file_sha256(newest / name)
    description["sha256"] = fingerprint(description | {"sha256": ""})
    (newest / "checkpoint.json").write_text(json.dumps(description), encoding="utf-8")
    train(grafted(), loader, tmp_path / "run")
    assert not ran.exists()


class RunsCode:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., None], tuple[Path]]:
        return Path.touch, (self.path,)


def test_a_file_that_was_put_into_a_checkpoint_is_damage(
    loader: PackedLoader, tmp_path: Path
) -> None:
    train_until_crash(loader, 8, tmp_path / "run")
    newest = tmp_path / "run/checkpoints/step-00000006"
    save_file({"parameters.model.norm.weight": torch.ones(3)}, newest / "other.safetensors")
    with pytest.raises(ArtifactError, match=r"damaged: other\.safetensors"):
        train(grafted(), loader, tmp_path / "run")
