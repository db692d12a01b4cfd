from __future__ import annotations

import re
from typing import Any

import pytest
import torch
import yaml
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM

from langraft.core.errors import ModelError
from langraft.core.settings.languages import Languages
from langraft.core.settings.stage import Stage
from langraft.core.settings.training import Training
from langraft.graft.method import AbstractMethod
from langraft.graft.methods.full import Full
from langraft.graft.methods.moe_lpr import MoELPR
from langraft.graft.surgery import graft_model
from langraft.plan.hardware import Hardware, find_hardware
from langraft.plan.plan import plan_method
from tiny import tiny_config, tiny_model

WIDE = {
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_attention_heads": 4,
    "head_dim": 16,
    "num_hidden_layers": 12,
}


def planned(method: AbstractMethod, trains: Any) -> Any:
    model = graft_model(tiny_model(**WIDE), method)
    stage = Stage(name="s", tokens=1024, mixture={"en": 1}, trains=trains, losses={})
    training = Training(sequence_length=64, batch_rows=8, micro_rows=8)
    return plan_method(model, (stage,), training, method.name)


def test_a_token_meets_k_experts_and_the_rest_is_idle() -> None:
    plan = planned(MoELPR(new_experts=3, experts_per_token=2), ("experts", "routers"))
    base = sum(parameter.numel() for parameter in tiny_model(**WIDE).parameters())
    ffn = 3 * 64 * 160 * 12
    routers = 4 * 64 * 12
    assert plan.parameters.total == base + 3 * ffn + routers
    assert plan.parameters.active == base + ffn + routers
    assert plan.parameters.trainable == 3 * ffn + routers


def test_retain_costs_a_forward_pass_of_the_base_for_original_text() -> None:
    model = graft_model(
        tiny_model(**WIDE),
        MoELPR(new_experts=2),
        languages=Languages(original=("en",), new=("el",)),
    )
    stage = Stage(name="s", tokens=1024, mixture={"en": 1, "el": 3}, trains=("experts",), losses={})
    training = Training(sequence_length=64, batch_rows=8, micro_rows=8)
    plain, retained = (
        plan_method(model, (stage.model_copy(update={"losses": losses}),), training, "moe_lpr")
        for losses in ({}, {"retain": 2.0})
    )
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        tiny_model(**WIDE)(torch.zeros(1, 64, dtype=torch.long))
    extra = retained.stages[0].flops_per_token - plain.stages[0].flops_per_token
    attention = 12 * 2 * 64 * 64  # which the counter leaves out: half a row for each token
    assert extra == pytest.approx(0.25 * (counter.get_total_flops() / 64 + attention))


LANGUAGES = Languages(original=("en",), new=("el",))


def with_original_rows(
    losses: dict[str, float], num_chosen: int, rows: float | None = None
) -> float:
    """Return planned operations a token, a quarter of them of the original language."""
    method = MoELPR(new_experts=2, experts_per_token=num_chosen)
    model = graft_model(tiny_model(**WIDE), method, languages=LANGUAGES)
    mixture = {"en": 1.0, "el": 3.0}
    stage = Stage(name="s", tokens=512, mixture=mixture, trains=("experts",), losses=losses)
    training = Training(sequence_length=64, batch_rows=8, micro_rows=8)
    measured = None if rows is None else {"s": rows}
    plan = plan_method(model, (stage,), training, method.name, original_rows=measured)
    return plan.stages[0].flops_per_token


def test_the_frozen_expert_saves_the_gradient_of_its_weights_for_the_tokens_that_it_gets() -> None:
    all_new, all_original = (with_original_rows({}, 1, rows) for rows in (0.0, 1.0))
    way_to_inner_weights = 2 * 64 * 160  # of the first layer, below which nothing trains
    assert all_new - all_original == 2 * 3 * 64 * 160 * 12 + way_to_inner_weights
    quarter = with_original_rows({}, 1, 0.25)
    assert quarter == pytest.approx(0.75 * all_new + 0.25 * all_original)


@pytest.mark.parametrize(
    ("losses", "rows"),
    [
        ({}, 2 / 3),  # two of the three experts, each as often
        ({"prior": 0.1}, 0.25 * 1 + 0.75 * 2 / 3),
        ({"prior_new": 0.1}, 0.25 * 2 / 3),
        ({"prior": 0.1, "prior_new": 0.1}, 0.25),
    ],
)
def test_priors_say_what_the_frozen_expert_will_read(losses: dict[str, float], rows: float) -> None:
    cost = with_original_rows(losses, 2)
    assert cost == pytest.approx(with_original_rows(losses, 2, rows), rel=1e-12)


def cost_of_rows(num_rows: int) -> tuple[float, float]:
    """Return planned operations a token, and those counted in the output matrix."""
    model = graft_model(tiny_model(**WIDE), MoELPR(token_rows="rare"), rare_tokens=range(num_rows))
    stage = Stage(name="s", tokens=512, mixture={"en": 1}, trains=("token_rows",), losses={})
    training = Training(sequence_length=64, batch_rows=8, micro_rows=8)
    with FlopCounterMode(display=False) as counter:
        model.get_output_embeddings()(torch.ones(1, 64, 64, requires_grad=True)).sum().backward()
    plan = plan_method(model, (stage,), training, "moe_lpr")
    return plan.stages[0].flops_per_token, counter.get_total_flops() / 64


@pytest.mark.parametrize("num_rows", [1, 16])
def test_output_rows_that_stay_as_they_are_cost_no_gradient(num_rows: int) -> None:
    (planned_all, counted_all), (planned_few, counted_few) = map(cost_of_rows, (128, num_rows))
    assert planned_all - planned_few == counted_all - counted_few > 0


def test_tokens_are_rounded_up_to_whole_steps() -> None:
    plan = planned(Full(), "everything")
    assert plan.stages[0].num_steps == 2
    assert plan.stages[0].tokens == 1024
    assert plan.stages[0].training_flops == plan.stages[0].flops_per_token * 1024


def test_paper_stages_keep_its_proportions() -> None:
    languages = Languages(original=("en",), new=("el", "hu"))
    extend, review = MoELPR().default_stages(languages, 1_000_000)
    assert extend.tokens + review.tokens == 1_000_000
    assert review.tokens == 17_000
    assert review.mixture == {"en": 1.0, "el": 2.0, "hu": 2.0}


LARGE = {
    "hidden_size": 4096,
    "intermediate_size": 12288,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "num_hidden_layers": 36,
    "vocab_size": 151936,
}


def planned_large(hardware: Hardware, **changes: Any) -> Any:
    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(tiny_config("qwen3", **LARGE))
    graft_model(model, MoELPR(new_experts=4))
    stage = Stage(
        name="extend", tokens=10**9, mixture={"el": 1}, trains=("experts", "routers"), losses={}
    )
    settings = {"sequence_length": 4096, "micro_rows": 1, "dtype": "bfloat16"}
    training = Training.model_validate(settings | changes)
    return plan_method(model, (stage,), training, "moe_lpr", hardware)


def test_what_is_proposed_fits_and_keeps_the_batch() -> None:
    plan = planned_large(find_hardware("H100", 64))
    training, memory = plan.search.training, plan.search.memory
    assert memory.peak <= plan.hardware.usable_bytes < 80 * 2**30
    assert training.batch_rows == 512
    assert training.batch_rows % (training.micro_rows * 64) == 0
    assert f"micro_rows: {training.micro_rows}" in plan.search.yaml


def test_what_is_proposed_is_planned_so_when_it_is_pasted() -> None:
    hardware = find_hardware("H100", 64)
    search = planned_large(hardware).search
    pasted = yaml.safe_load(search.yaml)["training"]
    again = planned_large(hardware, **pasted)
    assert again.stages[0].memory_bytes == search.memory.peak
    assert again.stages[0].speed == search.speeds[0]
    assert again.notes == ()


def test_what_does_not_fit_is_answered_with_what_would() -> None:
    plan = planned_large(find_hardware("H100", 1))
    assert plan.search.training is None
    needed = int(re.findall(r"at least (\d+) devices", plan.search.problem)[0])
    assert planned_large(find_hardware("H100", needed)).search.training is not None
    assert planned_large(find_hardware("H100", needed // 2)).search.training is None
    assert "does not fit" in plan.notes[0]


def test_a_batch_that_devices_cannot_share_is_said_so() -> None:
    plan = planned_large(find_hardware("H100", 48))
    assert "multiple of 48" in plan.search.problem
    assert plan.stages[0].speed is None
    assert "48 devices cannot train this" in plan.notes[0]


def test_twice_the_devices_take_half_the_hours_where_links_keep_up() -> None:
    speeds = [planned_large(find_hardware("H200", n)).stages[0].speed for n in (8, 16)]
    assert speeds[0].hours == pytest.approx(2 * speeds[1].hours, rel=0.1)
    assert speeds[0].device_hours == 8 * speeds[0].hours


def test_hours_are_those_of_the_products_at_the_share_that_is_given() -> None:
    speeds = [
        planned_large(find_hardware("H200", 8, share)).stages[0].speed for share in (0.2, 0.4)
    ]
    assert speeds[0].product_seconds == pytest.approx(2 * speeds[1].product_seconds)


def test_experts_that_are_shared_out_take_less_room_and_travel() -> None:
    anywhere, hardware = Hardware(num_devices=64), find_hardware("H100", 64)
    whole = planned_large(anywhere).stages[0].memory.whole_layers
    assert planned_large(anywhere, mesh={"expert": 4}).stages[0].memory.whole_layers < whole
    assert planned_large(hardware).stages[0].speed.expert_seconds == 0
    assert planned_large(hardware, mesh={"expert": 4}).stages[0].speed.expert_seconds > 0


def test_codes_of_eight_bits_halve_what_is_frozen() -> None:
    plain = planned_large(find_hardware("H200", 1)).stages[0].memory
    coded = planned_large(find_hardware("H200", 1), quantize_frozen="int8").stages[0].memory
    # Embeddings and output matrix stay as they are; so do the norms.
    matrices = 36 * 4096 * (2 * 32 * 128 + 2 * 8 * 128 + 3 * 12288)
    assert plain.frozen - coded.frozen == matrices * (2 - 1 - 4 / 256)
    assert coded.trained == plain.trained


def test_products_in_float32_take_the_time_that_they_take() -> None:
    plans = [planned_large(find_hardware("H100", 8), dtype=d) for d in ("float32", "bfloat16")]
    slow, fast = (plan.stages[0].speed.product_seconds for plan in plans)
    assert slow == pytest.approx(fast * 989 / 67)
    assert "training.dtype is float32" in plans[0].notes[-1]
    assert not any("float32" in note for note in plans[1].notes)


@pytest.mark.parametrize(
    ("devices", "settings", "words"),
    [
        (6, {"batch_rows": 6, "mesh": {"expert": 3}}, "does not divide 4 new experts"),
        (2, {"mesh": {"replicate": 4}}, "multiple of 4 processes"),
        (2, {"quantize_frozen": "int8"}, "works in one process, and there are 2"),
        (2, {"optimizer": "adamw_8bit"}, "works in one process, and there are 2"),
    ],
)
def test_what_a_run_would_refuse_is_said_and_has_no_speed(
    devices: int, settings: dict[str, Any], words: str
) -> None:
    plan = planned_large(find_hardware("H200", devices), **settings)
    assert words in plan.notes[0]
    assert plan.stages[0].speed is None
    if "mesh" not in settings:
        assert words in plan.search.problem


def test_a_base_without_projections_to_code_is_said_so() -> None:
    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(tiny_config("gpt2"))
    graft_model(model, MoELPR(new_experts=2))
    stage = Stage(name="extend", tokens=64, mixture={"el": 1}, trains=("experts",), losses={})
    settings = Training(sequence_length=8, micro_rows=8, quantize_frozen="int8")
    plan = plan_method(model, (stage,), settings, "moe_lpr", find_hardware("H100", 1))
    assert "no frozen linear projection" in plan.notes[0]


def test_unknown_experts_are_refused() -> None:
    with pytest.raises(ModelError, match="nonsense"):
        planned_large(find_hardware("H200", 8), experts="nonsense")


def test_experts_that_another_library_computes_are_not_shared_out() -> None:
    search = planned_large(find_hardware("A100-40", 512), experts="grouped_mm").search
    assert search.training.mesh.expert == 1
    Training.model_validate(search.training.model_dump())


def test_the_mesh_to_paste_replaces_that_of_the_recipe() -> None:
    hardware = find_hardware("H200", 8)
    search = planned_large(hardware, mesh={"replicate": 4}).search
    pasted = yaml.safe_load(search.yaml)["training"]
    assert pasted["mesh"] == search.training.mesh.model_dump()


def test_shares_of_experts_travel_only_where_several_hold_the_same() -> None:
    hardware = find_hardware("H100", 4)
    whole, shared = (
        planned_large(hardware, mesh={"expert": expert}).stages[0].speed.sharding_seconds
        for expert in (1, 4)
    )
    assert shared < 0.5 * whole  # four experts beside each FFN


def test_the_processor_is_measured() -> None:
    hardware = find_hardware("cpu")
    assert hardware.is_cpu
    assert hardware.accelerator is not None
    assert hardware.accelerator.peak_flops > 1e9
