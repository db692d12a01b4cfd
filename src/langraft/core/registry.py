"""Registries: folders of modules, in which the module's name registers its class."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from langraft.core.errors import RecipeError, did_you_mean

T_co = TypeVar("T_co", covariant=True)


class Registry(Generic[T_co]):
    """The classes that the modules of one package define, found by module name.

    A module ``methods/moe_lpr.py`` registers as ``moe_lpr`` the one class in it that subclasses
    ``kind``. Nothing is imported before it is asked for.
    """

    def __init__(self, package: str, kind: type[T_co], noun: str) -> None:
        """Look in ``package`` for subclasses of ``kind``; errors call one a ``noun``."""
        self._package = package
        self._kind = kind
        self._noun = noun

    def __iter__(self) -> Iterator[str]:
        """Yield the registered names in alphabetical order."""
        path = importlib.import_module(self._package).__path__
        return iter(sorted(module.name for module in pkgutil.iter_modules(path)))

    def __getitem__(self, name: str) -> type[T_co]:
        """Return the class registered under ``name``.

        Raises:
            RecipeError: when no module of this name exists.
        """
        names = list(self)
        if name not in names:
            raise RecipeError(
                f"Unknown {self._noun} {name!r}.{did_you_mean(name, names)} "
                f"Known: {', '.join(names)}."
            )
        module = importlib.import_module(f"{self._package}.{name}")
        found: list[type[Any]] = [
            value
            for value in vars(module).values()
            if isinstance(value, type)
            and issubclass(value, self._kind)
            and value.__module__ == module.__name__
        ]
        assert len(found) == 1, f"{module.__name__} must define exactly one {self._kind.__name__}"
        return found[0]
