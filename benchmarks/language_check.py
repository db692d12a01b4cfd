"""Measure how often sentences in the right language are taken for another one, by their letters.

python benchmarks/language_check.py --data ../shared/data en es el hu tr sw hi zh fr de yo eu ka bn
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
from collections import Counter
from itertools import islice
from pathlib import Path

from langraft.self_instruct.filters.language_check import make_language_check, prose
from langraft.self_instruct.filters.settings import TaskFilterSettings

NUM_RECORDS = 3000
NUM_SENTENCES = 1000  # of each length
FEWEST_LETTERS = (15, 20, 30, 50)
_END = re.compile(r"(?<=[.!?。।])\s*")


def sentences(path: Path) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for line in islice(file, NUM_RECORDS)]
    found = [s for text in texts for line in text.splitlines() for s in _END.split(line)]
    random.Random(0).shuffle(found)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="Folder with mono/.")
    parser.add_argument("languages", nargs="+")
    given = parser.parse_args()
    for language in given.languages:
        identify = make_language_check(language, TaskFilterSettings()).identify
        assert identify is not None
        by_length: dict[int, list[str]] = {fewest: [] for fewest in FEWEST_LETTERS}
        for sentence in sentences(given.data / "mono" / f"{language}.jsonl.gz"):
            text = prose(sentence)
            letters = sum(map(str.isalpha, text))
            fewest = max((n for n in FEWEST_LETTERS if n <= letters), default=None)
            if fewest is not None and len(by_length[fewest]) < NUM_SENTENCES:
                by_length[fewest].append(text)
        for fewest, texts in by_length.items():
            wrong = Counter(code for code in identify(texts) if code not in ("", language))
            print(
                f"{language} {fewest:2}+ letters: {wrong.total():3} of {len(texts):5,} wrong",
                dict(wrong.most_common(3)),
            )


if __name__ == "__main__":
    main()
