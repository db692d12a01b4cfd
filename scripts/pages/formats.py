"""reference/formats.md: which families can be exported, as what."""

from __future__ import annotations

from langraft.export.proof import TOLERANCE
from langraft.families.family import FAMILIES
from pages import page, summary, table

PATH = "reference/formats.md"


def render() -> str:
    """Return the page."""
    rows: list[tuple[str, ...]] = []
    notes: list[str] = []
    with_dense = set[str]()
    for name in FAMILIES:
        family = FAMILIES[name]
        twin = family.twin
        rows.append((f"`{name}`", summary(family), f"`{twin.architecture}`"))
        if twin.unsupported_keys:
            keys = " or ".join(f"`{key}`" for key in twin.unsupported_keys)
            notes.append(f"- `{name}`: not for a base with {keys}; {twin.unsupported_reason}.")
        limits = [f"{limit.servers} {limit.says}." for limit in twin.server_limits]
        if known := [*twin.notes, *limits]:
            notes.append(f"- `{name}`: {' '.join(known)}")
        if twin.has_dense_layers:
            with_dense.add(f"`{twin.architecture}`")
    return page(
        "Export formats",
        "A grafted model of one of these families is written as its standard mixture-of-experts "
        "class. These classes route as the method does (softmax, top K, renormalise), so the "
        "export is exact: it is loaded again and its logits must agree with the graft's to "
        f"{TOLERANCE:g} of the largest logit, or nothing is kept.",
        table(("`model_type` of the base", "models", "exported as"), rows),
        "\n".join(["What to know:", "", *notes]),
        "What no standard class holds (another family, `moe_ct` with its gate, layers with "
        "unequal numbers of experts) is exported as a portable folder: the base's own class and a "
        "small modelling file that transformers runs with `trust_remote_code=True`. The same "
        f"equality is checked. Only {' and '.join(sorted(with_dense))} can have layers without "
        "experts. A model without experts (`method: full`) is exported as its own class. "
        "See [Export and serving](../guide/export.md).",
    )
