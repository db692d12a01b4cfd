"""Packages of the extra ``data``, imported when a file first needs them."""

from __future__ import annotations

import importlib
from typing import Any

from langraft.core.errors import MissingExtraError


def import_extra(module: str, package: str, purpose: str) -> Any:
    """Return a module of the extra ``data``.

    Raises:
        MissingExtraError: when it is not installed; says what needs it and what to run.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        raise MissingExtraError(package, "data", purpose) from None
