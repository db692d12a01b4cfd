from __future__ import annotations

import pytest

from langraft.core.errors import RecipeError
from langraft.core.registry import Registry
from langraft.corpus.sources import SOURCES
from langraft.graft.methods import METHODS


def test_names_come_in_alphabetical_order() -> None:
    assert list(METHODS) == sorted(METHODS)
    assert {"full", "moe_lpr"} <= set(METHODS)
    assert {"almanac", "files"} <= set(SOURCES)


def test_an_unknown_name_is_answered_with_the_nearest_and_all_known() -> None:
    with pytest.raises(RecipeError) as caught:
        METHODS["moe_lp"]
    message = str(caught.value)
    assert "Unknown method 'moe_lp'" in message
    assert "Did you mean 'moe_lpr'?" in message
    assert all(name in message for name in METHODS)


@pytest.mark.parametrize("name", list(SOURCES))
def test_a_source_is_called_like_its_file(name: str) -> None:
    assert SOURCES[name].__module__.rpartition(".")[2] == name
    assert SOURCES[name].model_fields["source"].default == name


@pytest.mark.parametrize("name", list(METHODS))
def test_a_method_is_called_like_its_file(name: str) -> None:
    assert METHODS[name].__module__.rpartition(".")[2] == name
    assert METHODS[name].model_fields["name"].default == name


@pytest.mark.parametrize(
    ("registry", "key"), [(SOURCES, "source"), (METHODS, "name")], ids=["sources", "methods"]
)
def test_a_recipe_can_write_no_other_name_for_a_class(registry: Registry[object], key: str) -> None:
    for name in registry:
        assert registry[name].model_fields[key].annotation.__args__ == (name,)
