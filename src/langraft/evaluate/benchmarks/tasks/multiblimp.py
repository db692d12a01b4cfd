"""MultiBLiMP: agreement of subjects, verbs and participles, in 99 languages."""

from collections.abc import Mapping
from typing import ClassVar

from langraft.core.language import shortest_code
from langraft.evaluate.benchmarks.benchmark import item_keys
from langraft.evaluate.benchmarks.kinds.minimal_pairs import AbstractMinimalPairs

# All that recipes have a code for; Karo and Classical Armenian have none.
_NAMES = """
abk aln amh apu aqz arb azz bel ben bho bor bre bua bul cat ces chu cym dan deu egy ell eng est
eus fao fas fin fra frm fro gla gle glg got grc guj hbo hbs heb hin hit hsb hun hye hyw isl ita
kat kaz kir kmr koi kpv krl lat lav lij lit mar mdf mkd myv nds nhi nld olo orv ota pcm pol por
quc ron rus sah san slk slv sme sms spa sqi swe tam tpn ttc tur uig ukr urb urd uzb vep wbp wol
xnr xpg yrl
"""
_OWN = {"hbs": "sr-Latn"}  # Serbo-Croatian


class MultiBLiMP(AbstractMinimalPairs):
    """The harness's ``multiblimp_xxx`` (arXiv:2504.02768), 7 to 4,166 pairs a language.

    By phenomenon where the data names one; the score is that of all pairs in any case.
    """

    languages: ClassVar[Mapping[str, str]] = {
        _OWN.get(name, shortest_code(name)): name for name in _NAMES.split()
    }
    task_name = "multiblimp_{}"
    harness_folders = ("multiblimp",)
    pair_keys = ("sen", "wrong_sen")
    subset_key = "phenomenon"
    layout = item_keys(phenomenon=str, sen=str, wrong_sen=str)
