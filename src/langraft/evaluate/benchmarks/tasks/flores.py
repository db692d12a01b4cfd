"""FLORES: sentences translated between English and 110 languages, both ways."""

from langraft.evaluate.benchmarks.benchmark import Record
from langraft.evaluate.benchmarks.kinds.flores_languages import flores_languages
from langraft.evaluate.benchmarks.kinds.translation import AbstractTranslation, direction

_NAMES = {code: name for code, name in flores_languages().items() if code != "en"}


class Flores(AbstractTranslation):
    """``English sentence: ...``, ``Greek sentence:``, the harness's prompt for FLORES.

    MoE-LPR (arXiv:2408.11396, section 4): eight examples, from the ``dev`` split.
    Deviations: chrF, with BLEU and chrF++ beside it, where the paper has COMET, which is a model of
    its own. spBLEU is left out: sacrebleu fetches its tokenizer from the network. The harness's
    data set is a script, which datasets 4 no longer runs, so local files are needed.
    """

    languages = _NAMES
    task_name = "flores_{}"
    prompt = "[SRC] sentence: {{source}}\n[TGT] sentence:"
    delimiter = " "
    shots = 8
    metric = "chrf,none"
    test_splits = ("devtest", "test", "")
    shot_splits = ("dev",)
    other_folders = ("flores200", "flores_v1")

    def stems(self, language: str, part: str) -> tuple[str, ...]:
        """Return how files of pairs are named; both directions share one."""
        return (f"en-{language}", f"eng_Latn-{_NAMES[language]}", language)

    def items(self, record: Record, language: str, part: str) -> list[Record]:
        """Return both sides of a pair, under language codes or as the hub names them."""
        names = {"en": "eng_Latn"} | _NAMES
        source, target = (
            record[code] if code in record else record[f"sentence_{names[code]}"]
            for code in direction(language, part)
        )
        return [{"source": source, "target": target}]
