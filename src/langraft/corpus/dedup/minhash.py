"""MinHash signatures of texts and the keys of their LSH bands.

Broder 1997; one permutation hashing (Li, Owen, Zhang 2012) with optimal densification (Shrivastava
2017, arXiv:1703.04664): each shingle is hashed once, whatever the length of a signature, which is
what makes signatures cheap. PolyLM (section 3.1, step 4) uses MinHash-LSH and publishes no
parameters.

Shape suffixes: D = documents, K = hashes of a signature, B = bands.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from langraft.core.settings.corpus import Deduplication
from langraft.corpus.text_batch import Hashes, TextBatch, mix

_EMPTY = np.uint64(2**64 - 1)


def signatures(batch: TextBatch, settings: Deduplication) -> Hashes:
    """Return the signature of each text, (D, K); that of a text without words is all ones.

    The share of equal hashes in two signatures estimates the Jaccard similarity of the texts'
    shingles. A text shorter than a shingle is one shingle.
    """
    num_hashes = settings.bands * settings.rows
    shingles = batch.ngrams(settings.shingle_words)
    document, hashes = shingles.document, shingles.hashes
    whole = batch.all_words
    is_short = batch.count_spans(shingles)[whole.document] == 0
    document = np.append(document, whole.document[is_short])
    hashes = np.append(hashes, whole.hashes[is_short])
    signature_DK = np.full((len(batch), num_hashes), _EMPTY, dtype=np.uint64)
    bucket = ((hashes >> np.uint64(32)) * np.uint64(num_hashes)) >> np.uint64(32)
    position = document * num_hashes + bucket.astype(np.int64)
    np.minimum.at(signature_DK.reshape(-1), position, mix(hashes))
    return _densify(signature_DK)


def band_keys(signature_DK: Hashes, settings: Deduplication) -> Hashes:
    """Return one key for each band of each signature, (D, B); equal keys make candidates."""
    rows_DBR = signature_DK.reshape(len(signature_DK), settings.bands, settings.rows)
    key_DB = np.zeros(rows_DBR.shape[:2], dtype=np.uint64)
    for row in range(settings.rows):
        key_DB = mix(key_DB ^ rows_DBR[:, :, row])
    return key_DB


def shorten(signature_DK: Hashes) -> NDArray[np.uint16]:
    """Return 16 bits of each hash: enough to estimate similarity, at a quarter of the size."""
    return (signature_DK >> np.uint64(48)).astype(np.uint16)


def _densify(signature_DK: Hashes) -> Hashes:
    """Fill each empty bucket from another one, chosen in the same way for all texts."""
    num_hashes = signature_DK.shape[1]
    has_any_D = (signature_DK != _EMPTY).any(axis=1)
    document, bucket = np.nonzero((signature_DK == _EMPTY) & has_any_D[:, None])
    filled_DK = signature_DK.copy()
    attempt = 0
    while len(document):
        attempt += 1
        drawn = mix(bucket.astype(np.uint64) * np.uint64(2**32) + np.uint64(attempt))
        other = (drawn % np.uint64(num_hashes)).astype(np.int64)
        value = signature_DK[document, other]
        is_found = value != _EMPTY
        filled_DK[document[is_found], bucket[is_found]] = value[is_found]
        document, bucket = document[~is_found], bucket[~is_found]
    return filled_DK
