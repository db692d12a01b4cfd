"""XWinograd: what does a pronoun stand for?"""

from collections.abc import Sequence

from langraft.evaluate.benchmarks.benchmark import AbstractBenchmark, Record, item_keys

_NAMES = {"en": "en", "fr": "fr", "ja": "jp", "pt": "pt", "ru": "ru", "zh": "zh"}
_QUOTES = {"``": '"', "''": '"'}  # as the Penn Treebank writes them


class XWinograd(AbstractBenchmark):
    """``[prefix] {choice} [suffix]``: the suffix is scored after each choice.

    The harness's task unchanged, which is PolyLM's (arXiv:2307.06018, section 5).
    """

    languages = _NAMES
    task_name = "xwinograd_{}"
    harness_folders = ("xwinograd",)
    layout = item_keys(sentence=str, option1=str, option2=str, answer=("1", "2"))

    def items(self, record: Record, language: str, part: str) -> list[Record]:
        """Return the record, with the pronoun replaced by a gap if it is of the original release.

        There a record has ``tokens`` and, as positions in them, ``pronoun`` and ``candidates``.
        """
        if "tokens" not in record:
            if "_" not in record["sentence"]:
                raise ValueError("the sentence has no gap, which is written _")
            return [record]
        sentence, (first, last) = record["sentence"], record["pronoun"][1]
        places = _places(sentence, record["tokens"])
        (one, *_, is_one), (two, *_, is_two) = record["candidates"]
        if is_one == is_two:
            raise ValueError("not exactly one candidate is right")
        gap = sentence[: places[first][0]] + "_" + sentence[places[last - 1][1] :]
        answer = "1" if is_one else "2"
        return [{"sentence": gap, "option1": one, "option2": two, "answer": answer}]


def _places(sentence: str, tokens: Sequence[str]) -> list[tuple[int, int]]:
    """Return where each token begins and ends in its sentence."""
    places: list[tuple[int, int]] = []
    end = 0
    for token in tokens:
        text = _QUOTES.get(token, token.strip())
        begin = sentence.index(text, end)
        end = begin + len(text)
        places.append((begin, end))
    return places
