"""reference/formats.md: which families can be exported, as what."""

from __future__ import annotations

from langraft.export.folder import TOLERANCE
from langraft.families.family import FAMILIES
from pages import page, summary, table

PATH = "reference/formats.md"


def render() -> str:
    """Return the page."""
    rows: list[tuple[str, ...]] = []
    notes: list[str] = []
    twins = [FAMILIES[name].twin for name in FAMILIES]
    with_dense = sorted({f"`{twin.architecture}`" for twin in twins if twin.has_dense_layers})
    for name in FAMILIES:
        family = FAMILIES[name]
        rows.append((f"`{name}`", summary(family), f"`{family.twin.architecture}`"))
        notes += [f"- `{name}`: {family.twin.caveat}"] if family.twin.caveat else []
        check = summary(family.why_not)
        if not check.startswith("Say nothing"):
            notes.append(f"- `{name}`, checked before anything runs: {check}")
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
        f"equality is checked. Layers without experts fit {' and '.join(with_dense)} alone. "
        "A model without experts (`method: full`) is exported as its own class. "
        "See [Export and serving](../guide/export.md).",
    )
