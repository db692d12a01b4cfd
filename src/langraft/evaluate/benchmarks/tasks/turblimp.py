"""TurBLiMP: 16 phenomena of Turkish grammar, a thousand minimal pairs of each."""

from langraft.evaluate.benchmarks.benchmark import language_codes
from langraft.evaluate.benchmarks.kinds.minimal_pairs import AbstractMinimalPairs

_PHENOMENA = """
anaphor_agreement argument_structure_ditransitive argument_structure_transitive binding
determiners ellipsis irregular_forms island_effects nominalization npi_licensing passives
quantifiers relative_clauses scrambling subject_agreement suspended_affixation
"""


class TurBLiMP(AbstractMinimalPairs):
    """The harness's group ``turblimp_core`` as one score (arXiv:2506.13487)."""

    languages = language_codes("tr")
    task_name = "turblimp_anaphor_agreement"  # one template for all phenomena
    harness_folders = ("turblimp",)
    hub_tasks = tuple(f"turblimp_{name}" for name in _PHENOMENA.split())
