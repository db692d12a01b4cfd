"""The model card of an exported folder."""

from __future__ import annotations

import re
from typing import Any

import yaml
from jinja2 import Environment
from markupsafe import Markup

from langraft.report.benchmarks import NO_SIGNAL_MEANING, Means, benchmark_rows
from langraft.report.gather import RunRecord
from langraft.report.summary import measures, verdict
from langraft.report.wording import BITS_PER_BYTE

_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
# What Markdown may take for markup: marks, links, tables, mathematics, and addresses in plain text.
# An underscore between letters or digits is none.
_MARKUP = re.compile(
    r"[&<>\\`*\[\]{}|#~$@]|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=\bwww)\."
    r"|^[-+=]|^\d+[.)](?=\s|$)"
)
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


def model_card(run: RunRecord, environment: Environment) -> str:
    """Return the card in Markdown, with Hugging Face front matter.

    The front matter names no licence: that follows from the base and the text, which langraft
    cannot judge. It names a base only when that has a name on the hub. Whatever the template shows
    is escaped, but what it marks as ``safe`` or as ``code``.
    """
    served = (*run.languages.original, *run.languages.new)
    after = run.methods[0].stages[-1].evaluation
    has_experts = any(score.routing for score in after.heldout.values())
    front: dict[str, Any] = {
        "language": list(dict.fromkeys(code.replace("_", "-").split("-")[0] for code in served)),
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["langraft", *(["mixture-of-experts"] if has_experts else []), "multilingual"],
    }
    if run.base_hub_name is not None and _HUB_NAME.fullmatch(run.base_hub_name):
        front["base_model"] = run.base_hub_name
    markdown = environment.overlay(finalize=escape_markdown)
    markdown.filters = environment.filters | {"code": _code}
    return markdown.get_template("model_card.md.j2").render(
        front=yaml.safe_dump(front, sort_keys=False, allow_unicode=True),
        run=run,
        own=run.methods[0],
        verdict=verdict(run),
        measures=measures(run),
        benchmarks=benchmark_rows({m.name: [Means.of(m.scorecard)] for m in run.methods}),
        no_signal=NO_SIGNAL_MEANING,
        bits_per_byte=BITS_PER_BYTE,
    )


def escape_markdown(value: object) -> str:
    """Return a value on one line of Markdown that shows its text and is no markup or HTML."""
    if isinstance(value, Markup):
        return value
    text = " ".join(str(value).split())
    return _MARKUP.sub(
        lambda found: _ENTITIES.get(found[0]) or f"{found[0][:-1]}\\{found[0][-1]}", text
    )


def _code(value: object) -> Markup:
    """Return a value as a span of code, between more backticks than it has."""
    text = " ".join(str(value).split())
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return Markup(f"{fence}{space}{text}{space}{fence}")
