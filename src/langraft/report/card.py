"""The model card: what a stranger who finds the exported folder needs to know."""

from __future__ import annotations

from typing import Any

import yaml
from jinja2 import Environment

from langraft.report.gather import RunRecord
from langraft.report.summary import measures, verdict


def model_card(run: RunRecord, environment: Environment) -> str:
    """Return the card in Markdown, with Hugging Face front matter.

    The front matter names no licence: that follows from the base and the text, which langraft
    cannot judge. It names a base only when that has a name on the hub.
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
    if run.base_hub_name is not None:
        front["base_model"] = run.base_hub_name
    return environment.get_template("model_card.md.j2").render(
        front=yaml.safe_dump(front, sort_keys=False, allow_unicode=True),
        run=run,
        own=run.methods[0],
        verdict=verdict(run),
        measures=measures(run),
    )
