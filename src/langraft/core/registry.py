"""One addition, one file: a folder of modules is a registry, a module's name its registration."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from langraft.core.errors import RecipeError, did_you_mean

T = TypeVar("T")


class Registry(Generic[T]):
    """The classes that the modules of one package define, found by module name.

    A module ``methods/moe_lpr.py`` registers as ``moe_lpr`` the one class in it that subclasses
    ``kind``. Nothing is imported before it is asked for.
    """

    def __init__(self, package: str, kind: type[T], noun: str) -> None:
        """Look in ``package`` for subclasses of ``kind``; errors call one a ``noun``."""
        self.package = package
        self.kind = kind
        self.noun = noun

    def __iter__(self) -> Iterator[str]:
        """Yield the registered names in alphabetical order."""
        path = importlib.import_module(self.package).__path__
        return iter(sorted(module.name for module in pkgutil.iter_modules(path)))

    def __getitem__(self, name: str) -> type[T]:
        """Return the class registered under ``name``.

        Raises:
            RecipeError: when no module of this name exists.
        """
        names = list(self)
        if name not in names:
            raise RecipeError(
                f"Unknown {self.noun} {name!r}.{did_you_mean(name, names)} "
                f"Known: {', '.join(names)}."
            )
        module = importlib.import_module(f"{self.package}.{name}")
        found: list[type[Any]] = [
            value
            for value in vars(module).values()
            if isinstance(value, type)
            and issubclass(value, self.kind)
            and value.__module__ == module.__name__
        ]
        assert len(found) == 1, f"{module.__name__} must define exactly one {self.kind.__name__}"
        return found[0]
