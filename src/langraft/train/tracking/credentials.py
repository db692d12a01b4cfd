"""Take credentials out of addresses, before a recipe or a message goes to somebody else."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

_ADDRESS = re.compile(
    r"(?P<scheme>\b[a-zA-Z][\w+.-]*://)(?:[^\s/?#'\"]*@)?(?P<place>[^\s?#'\"]*)"
    r"(?P<query>\?[^\s'\"]*=[^\s'\"]*)?"
)


def without_credentials(text: str) -> str:
    """Return a text whose addresses have neither user and password nor a query.

    ``https://me:word@host/x?token=abc`` becomes ``https://host/x?...``.
    """

    def cleaned(found: re.Match[str]) -> str:
        return f"{found['scheme']}{found['place']}{'?...' if found['query'] else ''}"

    return _ADDRESS.sub(cleaned, text)


def config_without_credentials(value: Any) -> Any:
    """Return JSON, such as a recipe, with all of its texts cleaned."""
    if isinstance(value, str):
        return without_credentials(value)
    if isinstance(value, Mapping):
        return {key: config_without_credentials(inner) for key, inner in value.items()}
    if isinstance(value, Sequence):
        return [config_without_credentials(inner) for inner in value]
    return value
