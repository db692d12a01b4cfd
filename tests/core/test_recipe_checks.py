from __future__ import annotations

from typing import Any

import pytest

from langraft.core.errors import RecipeError
from langraft.core.settings.parse import parse_recipe
from langraft.core.settings.recipe import Recipe
from langraft.recipes.load import REGISTRIES

WITH_BUDGET: dict[str, Any] = {
    "name": "trial",
    "base": "some/model",
    "languages": {"original": ["en", "es"], "new": ["el", "hu"], "transfer": ["tr"]},
    "corpus": [{"source": "files", "path": "x.txt", "languages": ["en", "es", "el", "hu", "tr"]}],
    "method": "moe_lpr",
    "tokens": "1M",
}
EXTEND: dict[str, Any] = {"name": "extend", "tokens": "1M", "mixture": {"el": 1, "hu": 1}}
SCRATCH: dict[str, Any] = {
    "config": {"hidden_size": 8},
    "stage": {"name": "base", "tokens": "1M", "mixture": {"en": 1}},
}


def parse(**changes: Any) -> Recipe:
    return parse_recipe(WITH_BUDGET | changes, REGISTRIES, "my.yaml")


def parse_stages(*stages: dict[str, Any], **changes: Any) -> Recipe:
    data = {key: value for key, value in WITH_BUDGET.items() if key != "tokens"}
    return parse_recipe(data | {"stages": list(stages)} | changes, REGISTRIES, "my.yaml")


def refusal(**changes: Any) -> str:
    with pytest.raises(RecipeError) as caught:
        parse(**changes)
    return str(caught.value)


def stage_refusal(*stages: dict[str, Any], **changes: Any) -> str:
    with pytest.raises(RecipeError) as caught:
        parse_stages(*stages, **changes)
    return str(caught.value)


# Keys


def test_an_unknown_key_is_answered_with_its_place_the_nearest_and_the_allowed() -> None:
    message = refusal(langauges={})
    assert "my.yaml" in message
    assert "langauges: unknown key. Did you mean 'languages'?" in message
    assert all(key in message for key in ("base", "corpus", "stages", "training"))


def test_an_unknown_key_of_a_source_lists_the_keys_of_that_source() -> None:
    entry = {"source": "files", "pth": "x", "path": "x", "languages": ["en"]}
    message = refusal(corpus=[WITH_BUDGET["corpus"][0], entry])
    assert "corpus[1].pth: unknown key. Did you mean 'path'?" in message
    assert "text_key" in message
    assert "micro_rows" not in message


def test_an_unknown_key_of_a_method_lists_the_keys_of_that_method() -> None:
    message = refusal(method={"name": "full", "new_experts": 3})
    assert "method.new_experts: unknown key." in message
    assert "token_rows" in message
    assert "experts_per_token" not in message


def test_an_unknown_key_of_a_stage_says_which_stage() -> None:
    message = stage_refusal(EXTEND, EXTEND | {"name": "review", "learning_rate": 1})
    assert "stages[1].learning_rate: unknown key." in message
    assert "warmup" in message


def test_a_key_that_is_no_text_is_refused() -> None:
    with pytest.raises(RecipeError, match="1"):
        parse_recipe(WITH_BUDGET | {1: 2}, REGISTRIES)


@pytest.mark.parametrize("key", ["name", "base", "languages", "corpus", "method"])
def test_a_required_key_is_named_when_it_is_missing(key: str) -> None:
    data = {k: v for k, v in WITH_BUDGET.items() if k != key}
    with pytest.raises(RecipeError, match=f"{key}: this key is required"):
        parse_recipe(data, REGISTRIES)


def test_several_mistakes_are_said_at_once() -> None:
    message = refusal(
        nme="x",
        tokens="lots",
        languages={"original": ["en"], "new": ["greek"]},
        training={"dtype": "float16"},
    )
    assert "nme: unknown key" in message
    assert "tokens: given 'lots'" in message
    assert "languages.new[0]: given 'greek'" in message
    assert "training.dtype: given 'float16'" in message
    assert "bfloat16" in message


def test_mistakes_in_languages_and_in_stages_are_said_together() -> None:
    message = stage_refusal(
        EXTEND | {"mixture": {"sw": 1}},
        corpus=[{"source": "files", "path": "x", "languages": ["en", "es", "el", "tr", "fr"]}],
    )
    assert "corpus[0].languages: given 'fr'" in message
    assert "no source has text in 'hu'" in message
    assert "stages[0].mixture: given 'sw'" in message


# Languages


def test_a_wrong_language_code_is_refused_with_examples() -> None:
    message = refusal(languages={"original": ["en"], "new": ["greek"]})
    assert "languages.new[0]: given 'greek'; expected a language code such as en" in message


def test_a_language_cannot_be_original_and_new() -> None:
    message = refusal(languages={"original": ["en", "es"], "new": ["el", "es"]})
    assert "languages: es given more than once" in message
    assert "original, new or transfer" in message


def test_a_declared_language_without_a_source_is_refused_by_name_and_role() -> None:
    message = refusal(
        corpus=[{"source": "files", "path": "x.txt", "languages": ["en", "es", "el", "tr"]}]
    )
    assert "no source has text in 'hu' (new)" in message
    assert "add a source or remove the language" in message


def test_a_source_cannot_name_an_undeclared_language() -> None:
    codes = ["en", "es", "el", "hu", "tr", "hr"]
    message = refusal(corpus=[{"source": "files", "path": "x.txt", "languages": codes}])
    assert "corpus[0].languages: given 'hr'" in message
    assert "en, es, el, hu, tr" in message


def test_a_mixture_cannot_name_an_undeclared_language() -> None:
    message = stage_refusal(EXTEND | {"mixture": {"el": 1, "hr": 1}})
    assert (
        "stages[0].mixture: given 'hr'; declared under `languages`: en, es, el, hu, tr" in message
    )


def test_no_stage_trains_on_a_transfer_language() -> None:
    message = stage_refusal(EXTEND | {"mixture": {"el": 1, "tr": 1}})
    assert "stages[0].mixture: 'tr' is a transfer language" in message
    assert "make it new or leave it out" in message


def test_a_base_trained_here_may_see_a_transfer_language() -> None:
    stage = SCRATCH["stage"] | {"mixture": {"en": 1, "tr": 1}}
    recipe = parse(base=SCRATCH | {"stage": stage})
    assert recipe.base.stage.mixture == {"en": 1.0, "tr": 1.0}


def test_a_base_trained_here_cannot_see_an_undeclared_language() -> None:
    stage = SCRATCH["stage"] | {"mixture": {"hr": 1}}
    assert "base.stage.mixture: given 'hr'" in refusal(base=SCRATCH | {"stage": stage})


def test_originals_come_first_in_the_order_of_language_ids() -> None:
    languages = parse().languages
    assert languages.all == ("en", "es", "el", "hu", "tr")
    assert [languages.role(code) for code in languages.all] == [
        "original",
        "original",
        "new",
        "new",
        "transfer",
    ]


@pytest.mark.parametrize("weight", [0, -1, float("nan"), float("inf")])
def test_a_weight_is_a_positive_finite_number(weight: float) -> None:
    message = stage_refusal(EXTEND | {"mixture": {"el": weight, "hu": 1}})
    assert "stages[0].mixture.el" in message


# Methods and sources


def test_an_unknown_method_gets_the_nearest_spelling() -> None:
    for given in ("moe_lp", {"name": "moe_lp"}):
        message = refusal(method=given)
        assert "method: given 'moe_lp'" in message
        assert "Did you mean 'moe_lpr'?" in message
        assert all(name in message for name in REGISTRIES.methods)


def test_an_unknown_source_gets_the_nearest_spelling() -> None:
    message = refusal(corpus=[{"source": "file", "path": "x", "languages": ["en"]}])
    assert "corpus[0]" in message
    assert "given 'file'" in message
    assert "Did you mean 'files'?" in message
    assert all(name in message for name in REGISTRIES.sources)


def test_a_source_without_its_name_is_told_the_key() -> None:
    message = refusal(corpus=[{"path": "x", "languages": ["en"]}])
    assert "corpus[0]: the key 'source' is required" in message


def test_a_bare_method_name_stands_for_its_defaults() -> None:
    assert parse(method="moe_lpr").method == parse(method={"name": "moe_lpr"}).method
    assert parse(baselines=["full"]).baselines == parse(baselines=[{"name": "full"}]).baselines


def test_more_experts_a_token_than_experts_are_refused_with_the_range() -> None:
    message = refusal(method={"name": "moe_lpr", "new_experts": 2, "experts_per_token": 4})
    assert "method.experts_per_token: given 4" in message
    assert "1..3" in message
    assert "new_experts 2" in message


def test_as_many_experts_a_token_as_there_are_is_allowed() -> None:
    recipe = parse(method={"name": "moe_lpr", "new_experts": 2, "experts_per_token": 3})
    assert recipe.method.experts_per_token == 3


def test_a_rate_of_a_group_that_does_not_train_is_refused_with_those_that_do() -> None:
    message = stage_refusal(EXTEND | {"lr_scale": {"router": 10}})
    assert "stages[0].lr_scale: given 'router'" in message
    assert "Did you mean 'routers'?" in message
    message = stage_refusal(EXTEND | {"lr_scale": {"experts": 2}, "trains": ["routers"]})
    assert "moe_lpr has: routers." in message


ONE_A_TOKEN = {"name": "moe_lpr", "new_experts": 1, "experts_per_token": 1}


@pytest.mark.parametrize(
    "losses", [{"balance": 0.01}, {"prior": 0.3}, {"prior": 0, "prior_new": 1}]
)
def test_one_expert_a_token_needs_the_priors_that_alone_teach_its_router(losses: Any) -> None:
    message = stage_refusal(EXTEND | {"losses": losses}, method=ONE_A_TOKEN)
    assert "stages[0].losses" in message
    assert "learn from language priors alone" in message
    learned = {"prior": 0.3, "prior_new": 0.1}
    recipe = parse_stages(EXTEND | {"losses": learned}, method=ONE_A_TOKEN)
    assert recipe.method.experts_per_token == 1


@pytest.mark.parametrize("number", [0, -1])
def test_no_expert_a_token_is_refused(number: int) -> None:
    message = refusal(method={"name": "moe_lpr", "new_experts": 3, "experts_per_token": number})
    assert f"given {number}" in message
    assert "1..4" in message


@pytest.mark.parametrize("baselines", [["full", "full"], ["moe_lpr"]])
def test_a_baseline_stands_there_once_and_is_not_the_method(baselines: list[str]) -> None:
    assert f"baselines: {baselines[0]!r}" in refusal(baselines=baselines)


# Stages


def test_a_recipe_has_a_budget_or_stages_never_both_or_neither() -> None:
    both = refusal(stages=[EXTEND])
    neither = stage_refusal()
    for message in (both, neither):
        assert "either `stages` or `tokens`" in message


def test_a_budget_becomes_the_two_stages_of_moe_lpr() -> None:
    extend, review = parse().stages
    assert (extend.name, review.name) == ("extend", "review")
    assert extend.trains == ("experts", "routers")
    assert review.trains == ("routers",)
    assert extend.losses == {"balance": 0.01}
    assert review.losses == {"prior": 0.1}
    assert extend.mixture == {"el": 1.0, "hu": 1.0}
    assert review.mixture == {"en": 1.0, "es": 1.0, "el": 2.0, "hu": 2.0}
    assert extend.tokens + review.tokens == 1_000_000
    assert 0.01 < review.tokens / 1_000_000 < 0.03


def test_trained_token_rows_train_in_the_extend_stage_alone() -> None:
    extend, review = parse(method={"name": "moe_lpr", "token_rows": "rare"}).stages
    assert extend.trains == ("experts", "routers", "token_rows")
    assert review.trains == ("routers",)


@pytest.mark.parametrize("tokens", [1, 2, 30])
def test_the_smallest_budgets_give_stages_with_tokens(tokens: int) -> None:
    assert all(stage.tokens >= 1 for stage in parse(tokens=tokens).stages)


def test_the_full_method_trains_everything_in_every_stage() -> None:
    (only,) = parse(method="full").stages
    assert (only.trains, only.losses, only.tokens) == ("everything", {}, 1_000_000)
    written = parse_stages(EXTEND, EXTEND | {"name": "more"}, method="full")
    assert [stage.trains for stage in written.stages] == ["everything", "everything"]


def test_a_stage_keeps_what_it_says_itself() -> None:
    stage = EXTEND | {"trains": ["routers"], "losses": {"prior": 0.3}}
    (completed,) = parse_stages(stage).stages
    assert completed.trains == ("routers",)
    assert completed.losses == {"prior": 0.3}


def test_a_stage_of_another_name_must_say_what_trains() -> None:
    message = stage_refusal(EXTEND | {"name": "warm"})
    assert "stages[0].trains" in message
    assert "'warm'" in message
    assert "extend, review" in message
    assert "experts, routers, adapters, attention, token_rows" in message


def test_a_group_that_the_method_lacks_is_refused_with_its_groups() -> None:
    message = stage_refusal(EXTEND | {"trains": ["expert"]})
    assert "stages[0].trains: given 'expert'" in message
    assert "experts, routers, adapters, attention, token_rows" in message
    assert "Did you mean 'experts'?" in message
    assert "?." not in message


def test_a_loss_that_the_method_lacks_is_refused_with_its_losses() -> None:
    message = stage_refusal(EXTEND | {"losses": {"balanse": 0.01}})
    assert "stages[0].losses: given 'balanse'" in message
    assert "balance, prior, prior_new" in message
    assert "Did you mean 'balance'?" in message
    assert "full has: none" in stage_refusal(EXTEND | {"losses": {"prior": 1}}, method="full")


def test_a_bare_group_name_is_told_that_a_list_is_wanted() -> None:
    message = stage_refusal(EXTEND | {"trains": "experts"})
    assert "stages[0].trains: given 'experts'" in message
    assert "list" in message


def test_token_rows_cannot_train_while_they_are_frozen() -> None:
    message = stage_refusal(EXTEND | {"trains": ["experts", "token_rows"]})
    assert "stages[0].trains: token_rows" in message
    assert "with method.token_rows: frozen there are none" in message
    assert "rare" in message


def test_two_stages_cannot_share_a_name() -> None:
    assert "stages: the name 'extend' is used twice" in stage_refusal(EXTEND, EXTEND)


@pytest.mark.parametrize("name", ["Extend", "1st", "a b", "../x", ""])
def test_a_stage_name_is_a_safe_folder_name(name: str) -> None:
    assert "stages[0].name" in stage_refusal(EXTEND | {"name": name, "trains": ["experts"]})


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a b"])
def test_a_run_name_is_a_safe_folder_name(name: str) -> None:
    assert "name: given" in refusal(name=name)


# Everything else


def test_a_batch_is_whole_micro_batches() -> None:
    message = refusal(training={"batch_rows": 10, "micro_rows": 4})
    assert "training: batch_rows 10 is not a multiple of micro_rows 4" in message


@pytest.mark.parametrize("tokens", [0, -5, "0k", "many", 1.5, None])
def test_a_budget_is_a_positive_whole_count(tokens: object) -> None:
    assert "tokens" in refusal(tokens=tokens)


def test_a_mistake_in_a_base_to_train_is_not_blamed_on_a_missing_name() -> None:
    message = refusal(base={"config": {}, "stge": SCRATCH["stage"]})
    assert "base.stge: unknown key. Did you mean 'stage'?" in message
    assert "valid string" not in message


def test_a_recipe_cannot_be_changed_after_its_check() -> None:
    recipe = parse()
    with pytest.raises(ValueError, match="frozen"):
        recipe.seed = 1
