"""reference/methods.md: every registered method and its keys."""

from __future__ import annotations

from langraft.core.settings.languages import Languages
from langraft.graft.methods import METHODS
from pages import page, summary, table
from pages.recipe import default_of, type_of

PATH = "reference/methods.md"
_LANGUAGES = Languages(original=("en",), new=("el", "hu"))
_BUDGET = 1_000_000


def render() -> str:
    """Return the page."""
    blocks = [
        "A method is a file of `langraft/graft/methods/`; its name is what a recipe calls "
        "`method.name`. The keys below stand under `method` or in an entry of `baselines`.",
        table(
            ("method", "what it does", "source", "groups that may train", "side losses"),
            [_row(name) for name in METHODS],
        ),
    ]
    for name in METHODS:
        blocks += [f"## {name}", *_section(name)]
    return page("Methods", *blocks)


def _row(name: str) -> tuple[str, ...]:
    method = METHODS[name]()
    return (
        f"[`{name}`](#{name})",
        summary(METHODS[name]),
        method.paper,
        _codes(method.groups),
        _codes(method.loss_names) or "none",
    )


def _section(name: str) -> list[str]:
    method = METHODS[name]()
    fields = [
        (f"`{key}`", type_of(field), default_of(field), field.description or "")
        for key, field in METHODS[name].model_fields.items()
        if key != "name"
    ]
    defaults = [
        (
            "any" if stage == "*" else f"`{stage}`",
            found.trains if found.trains == "everything" else _codes(found.trains),
            ", ".join(f"`{loss}` {weight:g}" for loss, weight in found.losses.items()) or "none",
        )
        for stage, found in method.stage_defaults.items()
    ]
    stages = [
        (
            f"`{stage.name}`",
            f"{stage.tokens / _BUDGET:.1%}",
            ", ".join(
                f"{_LANGUAGES.role(code)} `{code}` {weight / sum(stage.mixture.values()):.0%}"
                for code, weight in stage.mixture.items()
            ),
        )
        for stage in method.default_stages(_LANGUAGES, _BUDGET)
    ]
    return [
        table(("key", "type", "default", "meaning"), fields),
        "What a stage of this name trains and adds to the loss, unless it says so itself:",
        table(("stage", "trains", "side losses and weights"), defaults),
        "Stages that a budget (`tokens: ...` instead of `stages`) turns into, here for one "
        "original and two new languages:",
        table(("stage", "share of the budget", "share of tokens"), stages),
    ]


def _codes(names: object) -> str:
    return ", ".join(f"`{name}`" for name in names)  # type: ignore[attr-defined]
