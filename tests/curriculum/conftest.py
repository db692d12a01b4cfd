from __future__ import annotations

import numpy as np
import pytest

from langraft.corpus.storage.shards import ShardWriter, TokenShards

NUM_DOCUMENTS = {"en": 40, "el": 25, "sw": 60}
OFFSETS = {"en": 0, "el": 100, "sw": 200}


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TokenShards]:
    """Three languages; every token of document n is the language's offset + n."""
    found: dict[str, TokenShards] = {}
    for code, num_documents in NUM_DOCUMENTS.items():
        folder = tmp_path_factory.mktemp(code)
        writer = ShardWriter(folder, 300, shard_tokens=64)
        for number in range(num_documents):
            length = 1 + (7 * number) % 12
            writer.add(np.full(length, OFFSETS[code] + number, dtype=np.int64), f"doc-{number}")
        writer.close()
        found[code] = TokenShards(folder)
    return found
