"""Measure how fast the source `files` reads text: MB of text and documents a second.

python benchmarks/reading.py --megabytes 200 --characters 2000
"""

from __future__ import annotations

import argparse
import gzip
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from langraft.core.document import Document
from langraft.corpus.almanac import documents
from langraft.corpus.sources.files import Files

LANGUAGE = "el"


def texts(num_bytes: int, num_characters: int) -> Iterator[str]:
    """Yield Greek documents of a length, until they are enough bytes."""
    almanac = " ".join(document.text for document in documents(LANGUAGE))
    start = written = 0
    while written < num_bytes:
        text = almanac[start : start + num_characters].strip()
        start = (start + num_characters) % (len(almanac) - num_characters)
        written += len(text.encode())
        yield text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--characters", type=int, default=2000, help="Of a document.")
    given = parser.parse_args()
    written = list(texts(given.megabytes * 10**6, given.characters))
    lines = "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in written)
    escaped = "".join(json.dumps({"text": text}) + "\n" for text in written)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "plain.jsonl").write_text(lines, encoding="utf-8")
        (folder / "escaped.jsonl").write_text(escaped, encoding="utf-8")
        (folder / "packed.jsonl.gz").write_bytes(gzip.compress(lines.encode(), 6))
        (folder / "packed.jsonl.zst").write_bytes(zstandard.compress(lines.encode()))
        (folder / "lines.txt").write_text("\n".join(written), encoding="utf-8")
        pq.write_table(pa.table({"text": written}), folder / "columns.parquet")
        for path in sorted(folder.iterdir()):
            start = time.perf_counter()
            source = Files(path=str(path), languages=(LANGUAGE,))
            found = [len(r.text) for r in source.read(LANGUAGE) if isinstance(r, Document)]
            seconds = time.perf_counter() - start
            assert len(found) == len(written)
            megabytes = sum(len(text.encode()) for text in written) / 1e6
            rate = f"{megabytes / seconds:6.0f} MB/s {len(found) / seconds:9.0f} documents/s"
            print(f"{path.name:18} {rate}")


if __name__ == "__main__":
    main()
