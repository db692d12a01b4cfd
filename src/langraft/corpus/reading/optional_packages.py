"""Import of packages of extras when they are first needed."""

from __future__ import annotations

import importlib
from typing import Any

from langraft.core.errors import MissingExtraError


def import_extra(module: str, package: str, purpose: str, extra: str = "data") -> Any:
    """Import a module of a package that only an extra installs.

    Raises:
        MissingExtraError: when it is not installed; names the purpose and the install command.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise MissingExtraError(package, extra, purpose) from None
