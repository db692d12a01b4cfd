"""The Jinja environment of all templates, with filters that format numbers."""

from __future__ import annotations

from collections.abc import Iterable

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from langraft.core.in_words.quantities import duration
from langraft.core.language import language_name
from langraft.core.streams import stream_name
from langraft.report import wording

MANY_LANGUAGES = 12  # beyond this, lists of languages are folded


def template_environment() -> Environment:
    """Return the environment that every page and card is rendered in."""
    environment = Environment(
        loader=PackageLoader("langraft.report"),
        autoescape=select_autoescape(enabled_extensions=("html.j2",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "bits": wording.bits,
        "signed": wording.signed,
        "percent": wording.percent,
        "count": wording.count,
        "scientific": wording.scientific,
        "duration": duration,
        "language": language_name,
        "stream": stream_name,
        "share_range": wording.share_range,
        "listing": _listing,
        "tag": wording.language_tag,
        "one_line": wording.one_line,
    }
    return environment


def _listing(words: Iterable[str]) -> str:
    return wording.listing(list(words), MANY_LANGUAGES)
