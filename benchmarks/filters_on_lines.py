"""How much of good text the recommended filters drop when every line is a document, by reason.

    python benchmarks/filters_on_lines.py --data ../shared/data hu sw
    python benchmarks/filters_on_lines.py --data ../shared/data hu sw --examples 20

The files of `mono/` hold clean text, a paragraph, heading or sentence a line. Each line becomes a
document, as in a `.txt` of tweets, headlines or sentences.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
from pathlib import Path

from langraft.core.document import Document
from langraft.corpus.cleaning import Cleaner, in_batches
from langraft.corpus.counts import Drops, Example
from langraft.corpus.filter import AbstractFilter
from langraft.corpus.filters import FILTERS
from langraft.recipes.beginning.look_at_text import RECOMMENDED


def read_lines(path: Path) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for line in file]
    return [line for text in texts for line in text.split("\n") if line.strip()]


class AllDrops(Drops):
    """Drops that keep every example."""

    def add(self, reason: str, num_bytes: int, example: Example) -> None:
        """Count one document and keep it."""
        self.documents[reason] += 1
        self.examples[reason].append(example)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="Folder with mono/.")
    parser.add_argument("--examples", type=int, default=0, help="Of each reason.")
    parser.add_argument("languages", nargs="+")
    given = parser.parse_args()
    for language in given.languages:
        lines = read_lines(given.data / "mono" / f"{language}.jsonl.gz")
        filters: list[AbstractFilter] = [FILTERS[n](name=n) for n in RECOMMENDED]
        drops = AllDrops()
        cleaner = Cleaner(filters, language, drops)
        documents = [
            Document(text=line, language=language, id=f"{number}", is_line=True)
            for number, line in enumerate(lines)
        ]
        for batch in in_batches(documents):
            cleaner.clean(batch)
        dropped = drops.documents.total()
        print(f"{language}: {len(lines):,} lines, dropped {dropped:,} ({dropped / len(lines):.1%})")
        for reason, count in drops.documents.most_common():
            print(f"| {reason} | {count:,} | {count / len(lines):.1%} |")
            shown = min(given.examples, count)
            for example in random.Random(0).sample(drops.examples[reason], shown):
                print(f"    [{example.detail}] {example.excerpt[:150]}")


if __name__ == "__main__":
    main()
