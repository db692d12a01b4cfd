"""WMT20: news translated between English and four languages, both ways."""

from langraft.evaluate.benchmarks.benchmark import Record, language_codes
from langraft.evaluate.benchmarks.kinds.translation import AbstractTranslation, direction


class WMT20(AbstractTranslation):
    """``[input] Translate this sentence from [SRC] to [TGT].``, SacreBLEU.

    PolyLM (arXiv:2307.06018, section 5): one example. Chinese is split with sacrebleu's ``zh``.
    Deviations: Japanese is split into characters, because the paper's signature is not known and
    no dictionary is needed; without a ``dev`` file the example comes from the scored file.
    A line of ``wmt20/en-de.test.jsonl`` has the keys ``en`` and ``de``; the files of the other
    direction, ``de-en``, hold other texts.
    """

    languages = language_codes("de ja ru zh")
    task_name = "wmt20_{}"
    prompt = "{{source}} Translate this sentence from [SRC] to [TGT]."
    delimiter = "\n"
    shots = 1
    metric = "bleu,none"
    shot_splits = ("dev", "validation", "train")

    def stems(self, language: str, part: str) -> tuple[str, ...]:
        """Return the direction, which is how files are named."""
        return ("-".join(direction(language, part)),)

    def items(self, record: Record, language: str, part: str) -> list[Record]:
        """Return both sides of a pair, whose keys may be below ``translation``."""
        source, target = direction(language, part)
        pair = record.get("translation", record)
        return [{"source": pair[source], "target": pair[target]}]
