"""Split real text by document and by source, so that what is chosen on is not what is reported.

    python benchmarks/real_data.py ../shared/data/mono runs/real/data

Reads LANGUAGE.jsonl.gz (records with `id`, `source` and `text`), cuts the texts into pieces of some
2,000 characters at ends of lines, shuffles these by their hash, and writes by language:

    train/      what stages may read; langraft holds out of it what settings are chosen on
    test/       the same sources: nothing is trained or chosen on these, results report them
    unlike/     English from sources that train/ has nothing of, to choose on
    unlike_test/    the rest of these sources, for results

All pieces of one record go to the same folder.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

LANGUAGES = ("en", "el", "hu", "tr", "fr", "es")
# An encyclopaedia, manuals and speeches; what remains are novels, stories and sentences.
UNLIKE = {"en": {"factbook", "react-docs", "opensource-guide", "state_union", "inaugural"}}
TEST_ONE_IN = 16  # records
PIECE_CHARACTERS = 2000


def number_of(text: str) -> int:
    """Return a number that only the text decides."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def split_of(language: str, source: str, record_id: str) -> str:
    """Return the folder that a record belongs to."""
    number = number_of(record_id)
    if source in UNLIKE.get(language, ()):
        return "unlike_test" if number % 2 else "unlike"
    return "train" if number % TEST_ONE_IN else "test"


def pieces_of(text: str) -> Iterator[str]:
    """Yield a text in pieces that end where a line ends; a longer line is one piece."""
    piece = ""
    for line in text.splitlines(keepends=True):
        if piece and len(piece) + len(line) > PIECE_CHARACTERS:
            yield piece.rstrip("\n")
            piece = ""
        piece += line
    yield piece.rstrip("\n")


def split(folder: Path, out: Path) -> None:
    """Write the splits and print how many pieces and characters each has."""
    for language in LANGUAGES:
        splits: dict[str, list[dict[str, str]]] = defaultdict(list)
        with gzip.open(folder / f"{language}.jsonl.gz", "rt", encoding="utf-8") as file:
            for record in map(json.loads, file):
                name = split_of(language, record["source"], record["id"])
                for number, text in enumerate(pieces_of(record["text"])):
                    piece = {"id": f"{record['id']}#{number}", "source": record["source"]}
                    splits[name].append(piece | {"text": text})
        for name, pieces in sorted(splits.items()):
            pieces.sort(key=lambda piece: number_of(piece["id"]))
            path = out / name / f"{language}.jsonl.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            with gzip.open(path, "wt", encoding="utf-8") as file:
                file.writelines(json.dumps(piece, ensure_ascii=False) + "\n" for piece in pieces)
            characters = sum(len(piece["text"]) for piece in pieces)
            print(f"{path}: {len(pieces):,} pieces, {characters:,} characters")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", type=Path, help="folder with LANGUAGE.jsonl.gz")
    parser.add_argument("out", type=Path, help="folder to write")
    given = parser.parse_args()
    split(given.text, given.out)


if __name__ == "__main__":
    main()
