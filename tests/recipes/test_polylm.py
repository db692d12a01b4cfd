"""The packaged recipe polylm and the sizes it may have."""

from __future__ import annotations

import pytest

from langraft.core.errors import ModelError, RecipeError
from langraft.core.settings.recipe import Recipe
from langraft.core.settings.scratch_base import SHAPES, ScratchBase
from langraft.plan.plan import Plan
from langraft.recipes.load import load_recipe
from langraft.recipes.planning import plan_recipe


def planned(shape: str) -> tuple[Plan, Plan]:
    base, full = plan_recipe(load_recipe("polylm", [f"base.shape={shape}"]))
    return base, full


def not_english(recipe: Recipe) -> list[float]:
    assert isinstance(recipe.base, ScratchBase)
    stages = (recipe.base.stage, recipe.stages[0])
    return [1 - stage.mixture["en"] / sum(stage.mixture.values()) for stage in stages]


@pytest.mark.parametrize(("shape", "parameters"), [("polylm-1.7b", 1.7e9), ("polylm-13b", 13.5e9)])
def test_the_published_sizes_are_the_papers(shape: str, parameters: float) -> None:
    base, full = planned(shape)
    assert base.parameters.total == pytest.approx(parameters, rel=0.05)
    assert base.parameters == full.parameters


@pytest.mark.parametrize(("shape", "parameters"), [("llama-1.7b", 1.7e9), ("llama-12b", 12e9)])
def test_the_llama_sizes_are_what_they_are_called(shape: str, parameters: float) -> None:
    assert planned(shape)[0].parameters.total == pytest.approx(parameters, rel=0.05)


def test_the_paper_s_speed_is_a_third_of_an_a100() -> None:
    # Section 3.3: 1,170 tokens a second and GPU, 13B, of 312 TFLOP/s in bfloat16.
    base, _ = planned("polylm-13b")
    assert base.stages[0].flops_per_token * 1170 / 312e12 == pytest.approx(0.32, abs=0.01)


def test_the_share_of_other_languages_goes_from_a_third_to_three_fifths() -> None:
    first, second = not_english(load_recipe("polylm"))
    assert first == pytest.approx(0.325, abs=0.005)
    assert second == pytest.approx(0.60, abs=0.02)


def test_both_stages_read_the_paper_s_tokens() -> None:
    base, full = planned("polylm-1.7b")
    assert base.stages[0].tokens + full.stages[0].tokens == pytest.approx(638e9, rel=1e-4)


def test_config_beside_a_shape_changes_what_it_names_alone() -> None:
    recipe = load_recipe("polylm", ["base.config.n_layer=2"])
    assert isinstance(recipe.base, ScratchBase)
    assert recipe.base.config == {**SHAPES["polylm-1.7b"].config, "n_layer": 2}
    assert recipe.base.architecture == "gpt2"


def test_an_unknown_shape_is_answered_with_the_nearest() -> None:
    with pytest.raises(RecipeError, match=r"Did you mean 'polylm-13b'\?"):
        load_recipe("polylm", ["base.shape=polylm-13"])


def test_a_shape_beside_another_architecture_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"'llama', but the shape 'polylm-1\.7b' is of type"):
        load_recipe("polylm", ["base.architecture=llama"])


def test_two_names_of_one_size_are_refused() -> None:
    with pytest.raises(ModelError, match="both hidden_size and n_embd"):
        plan_recipe(load_recipe("polylm", ["base.config.hidden_size=64"]))
