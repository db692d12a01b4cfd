from __future__ import annotations

from typing import Any

import pytest

from langraft.core.errors import RecipeError
from langraft.core.settings.parse import parse_recipe
from langraft.core.settings.presets import PRESETS
from langraft.core.settings.recipe import Recipe
from langraft.recipes.load import REGISTRIES, dump_recipe, load_recipe

SOURCE: dict[str, Any] = {"source": "files", "path": "x.txt"}
RECIPE: dict[str, Any] = {
    "name": "trial",
    "base": "some/model",
    "languages": {"original": ["en", "es"], "new": ["el", "tr"], "transfer": ["hu"]},
    "corpus": [
        SOURCE | {"label": "wikipedia", "languages": ["en", "es", "el", "tr", "hu"]},
        SOURCE | {"label": "cc100", "languages": ["el"]},
        SOURCE | {"label": "watched", "languages": ["hu"]},
    ],
    "method": "moe_lpr",
}
EXTEND: dict[str, Any] = {"name": "extend", "tokens": "1M", "mixture": {"en": 1, "el": 1}}


def parse(stage: dict[str, Any] = EXTEND, **changes: Any) -> Recipe:
    return parse_recipe(RECIPE | {"stages": [stage]} | changes, REGISTRIES, "my.yaml")


def refusal(**keys: Any) -> str:
    with pytest.raises(RecipeError) as caught:
        parse(EXTEND | keys)
    return str(caught.value)


# Points


def test_a_stage_is_constant_unless_it_says_otherwise() -> None:
    stage = parse().stages[0]
    assert (stage.curriculum, stage.points) == ("constant", ())


def test_points_need_a_curriculum_and_a_curriculum_needs_points() -> None:
    point = {"at": 0.5, "mixture": {"el": 1}}
    assert "stages[0]: points are for `curriculum: staged` or `linear`" in refusal(points=[point])
    for curriculum in ("staged", "linear"):
        assert f"`curriculum: {curriculum}` needs points" in refusal(curriculum=curriculum)
    assert "Did you mean 'linear'?" in refusal(curriculum="liner", points=[point])


@pytest.mark.parametrize("places", [(0.5, 0.5), (0.8, 0.2)])
def test_points_come_one_after_another(places: tuple[float, ...]) -> None:
    points = [{"at": place, "mixture": {"el": 1}} for place in places]
    message = refusal(curriculum="linear", points=points)
    assert f"given at {places[0]}, {places[1]}; each must come after the one before" in message


@pytest.mark.parametrize("place", [0, -0.1, 1.01])
def test_a_point_lies_within_the_stage(place: float) -> None:
    message = refusal(curriculum="linear", points=[{"at": place, "mixture": {"el": 1}}])
    assert "stages[0].points[0].at" in message


def test_a_line_may_end_with_the_stage_and_a_switch_may_not() -> None:
    points = [{"at": 1, "mixture": {"el": 1}}]
    assert parse(EXTEND | {"curriculum": "linear", "points": points}).stages[0].points
    assert "is never used" in refusal(curriculum="staged", points=points)


def test_mixtures_of_points_are_checked_like_the_first() -> None:
    def of_point(mixture: Any) -> str:
        return refusal(curriculum="linear", points=[{"at": 1, "mixture": mixture}])

    assert "stages[0].points[0].mixture: given 'hr'; declared" in of_point({"hr": 1})
    assert "stages[0].points[0].mixture: 'hu' is a transfer language" in of_point({"hu": 1})
    message = of_point({"en/cc100": 1})
    assert "stages[0].points[0].mixture: no source has text for 'en/cc100'" in message
    assert "points[0].mixture.el" in of_point({"el": 0})


@pytest.mark.parametrize("key", ["temperature", "max_epochs"])
def test_temperature_and_cap_are_positive(key: str) -> None:
    assert f"stages[0].{key}" in refusal(**{key: 0})


# Sources in all languages


def test_a_source_in_all_languages_leaves_transfer_languages_out() -> None:
    text = parse().text
    assert text.members("*/wikipedia") == (
        "en/wikipedia",
        "es/wikipedia",
        "el/wikipedia",
        "tr/wikipedia",
    )
    assert text.members("*/cc100") == ("el/cc100",)
    assert text.members("el") == ("el",)


def test_a_source_in_transfer_languages_alone_is_refused() -> None:
    assert "'*/watched' has only text in transfer languages" in refusal(mixture={"*/watched": 1})


def test_a_tokenizer_needs_languages_where_its_base_names_sources() -> None:
    base: dict[str, Any] = {
        "config": {"hidden_size": 8},
        "stage": {"name": "base", "tokens": "1M", "mixture": {"*/wikipedia": 1}},
    }
    with pytest.raises(RecipeError, match=r"base\.tokenizer\.mixture: this key is required"):
        parse(base=base)
    named = parse(base=base | {"tokenizer": {"mixture": {"en": 1, "el": 2}}}).base
    assert not isinstance(named, str)
    assert named.tokenizer_mixture == {"en": 1, "el": 2}


def test_a_tokenizer_sees_what_any_point_of_the_base_s_stage_sees() -> None:
    stage = {
        "name": "base",
        "tokens": "1M",
        "mixture": {"en": 9, "es": 1},
        "curriculum": "linear",
        "points": [{"at": 1, "mixture": {"en": 1, "el/cc100": 1}}],
    }
    base = parse(base={"config": {"hidden_size": 8}, "stage": stage}).base
    assert not isinstance(base, str)
    assert base.tokenizer_mixture == pytest.approx({"en": 1.4, "es": 0.1, "el": 0.5})


# Presets


def test_a_preset_keeps_the_languages_of_the_recipe_and_their_ratios() -> None:
    mixture = parse(EXTEND | {"mixture": "polylm_stage1"}).stages[0].mixture
    assert list(mixture) == ["en", "es", "tr"]
    assert sum(mixture.values()) == pytest.approx(1)
    assert mixture["en"] / mixture["tr"] == pytest.approx(67.56 / 0.54)


def test_a_preset_of_sources_goes_by_their_labels() -> None:
    mixture = parse(EXTEND | {"mixture": "polylm_stage2"}).stages[0].mixture
    assert list(mixture) == ["*/cc100", "*/wikipedia"]
    assert mixture["*/cc100"] / mixture["*/wikipedia"] == pytest.approx(35.88 / 17.58)


def test_a_preset_may_stand_beside_streams_and_in_points() -> None:
    points = [{"at": 1, "mixture": {"polylm_stage1": 40, "el": 60}}]
    stage = parse(EXTEND | {"curriculum": "linear", "points": points}).stages[0]
    mixture = stage.points[0].mixture
    assert mixture["el"] == 60
    assert sum(mixture.values()) == pytest.approx(100)


def test_baselines_and_the_base_may_name_presets_too() -> None:
    named = EXTEND | {"mixture": "polylm_stage1"}
    base = {"config": {"hidden_size": 8}, "stage": named | {"name": "base"}}
    full = {"name": "full", "stages": [named]}
    recipe = parse(base=base, baselines=[full])
    assert not isinstance(recipe.base, str)
    for stage in (recipe.base.stage, recipe.baselines[0].stages[0]):
        assert list(stage.mixture) == ["en", "es", "tr"]


def test_too_little_of_a_preset_is_refused() -> None:
    languages = {"original": ["es"], "new": ["el", "tr"], "transfer": ["hu", "en"]}
    with pytest.raises(RecipeError) as caught:
        parse(EXTEND | {"mixture": "polylm_stage1"}, languages=languages)
    message = str(caught.value)
    assert (
        "stages[0].mixture: of the preset 'polylm_stage1' this recipe has es, tr, 1.4%" in message
    )
    assert "declare more of its languages (en, zh," in message
    only_files = [SOURCE | {"languages": ["en", "es", "el", "tr", "hu"]}]
    with pytest.raises(RecipeError) as caught:
        parse(EXTEND | {"mixture": "polylm_stage2"}, corpus=only_files)
    message = str(caught.value)
    assert "this recipe has nothing, 0.0%" in message
    assert "label sources of the corpus cc100, wikipedia, arxiv" in message


def test_an_unknown_name_is_answered_with_the_presets() -> None:
    message = refusal(mixture="polylm_stage3")
    assert "polylm_stage1, polylm_other, polylm_stage2" in message


@pytest.mark.parametrize("name", ["polylm_stage1", "polylm_stage2"])
def test_the_published_shares_are_those_of_the_whole(name: str) -> None:
    assert sum(PRESETS[name].values()) == pytest.approx(100, abs=0.1)


def test_the_other_languages_are_all_but_english_in_the_same_ratios() -> None:
    assert PRESETS["polylm_stage1"] == {"en": 67.56} | dict(PRESETS["polylm_other"])


def test_a_recipe_with_a_curriculum_is_written_and_read_back_the_same(tmp_path: Any) -> None:
    points = [{"at": 0.25, "mixture": "polylm_stage1"}, {"at": 1, "mixture": {"*/cc100": 1}}]
    recipe = parse(EXTEND | {"curriculum": "linear", "points": points, "temperature": 3})
    path = tmp_path / "recipe.yaml"
    path.write_text(dump_recipe(recipe), encoding="utf-8")
    assert load_recipe(path).model_dump() == recipe.model_dump()
