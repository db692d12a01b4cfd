"""Names of languages in FLORES-200 and in data built on it: ``ell_Grek`` for ``el``."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from types import MappingProxyType

from langraft.core.language import shortest_code

# The languages of Belebele, which FLORES-200 and SIB-200 have too.
_NAMES = """
afr_Latn als_Latn amh_Ethi arb_Arab asm_Beng azj_Latn bam_Latn ben_Beng bod_Tibt bul_Cyrl cat_Latn
ceb_Latn ces_Latn ckb_Arab dan_Latn deu_Latn ell_Grek eng_Latn est_Latn eus_Latn fin_Latn fra_Latn
fuv_Latn gaz_Latn grn_Latn guj_Gujr hat_Latn hau_Latn heb_Hebr hin_Deva hrv_Latn hun_Latn hye_Armn
ibo_Latn ilo_Latn ind_Latn isl_Latn ita_Latn jav_Latn jpn_Jpan kac_Latn kan_Knda kat_Geor kaz_Cyrl
kea_Latn khk_Cyrl khm_Khmr kin_Latn kir_Cyrl kor_Hang lao_Laoo lin_Latn lit_Latn lug_Latn luo_Latn
lvs_Latn mal_Mlym mar_Deva mkd_Cyrl mlt_Latn mri_Latn mya_Mymr nld_Latn nob_Latn npi_Deva nso_Latn
nya_Latn ory_Orya pan_Guru pbt_Arab pes_Arab plt_Latn pol_Latn por_Latn ron_Latn rus_Cyrl shn_Mymr
sin_Sinh slk_Latn slv_Latn sna_Latn snd_Arab som_Latn sot_Latn spa_Latn srp_Cyrl ssw_Latn sun_Latn
swe_Latn swh_Latn tam_Taml tel_Telu tgk_Cyrl tgl_Latn tha_Thai tir_Ethi tsn_Latn tso_Latn tur_Latn
ukr_Cyrl urd_Arab uzn_Latn vie_Latn war_Latn wol_Latn xho_Latn yor_Latn zho_Hans zho_Hant zsm_Latn
zul_Latn
"""
# Languages whose code in CLDR differs from the one that recipes use.
_OWN = {"fil": "tl", "nb": "no", "pbt": "ps"}


@functools.cache
def flores_languages() -> Mapping[str, str]:
    """Return FLORES's name by language code; Chinese alone stands in two scripts."""
    names: dict[str, str] = {}
    for name in _NAMES.split():
        code = shortest_code(name)
        names["zh-Hant" if name == "zho_Hant" else _OWN.get(code, code)] = name
    return MappingProxyType(names)
