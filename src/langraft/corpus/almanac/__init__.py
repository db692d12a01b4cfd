"""The almanac: a small corpus of true and parallel text, made offline from Unicode CLDR.

Read it in the order of its making: ``facts.py`` (what CLDR knows), ``outlines/`` (which document
says what), ``names.py`` (what CLDR calls things), ``grammar/`` and ``wording/`` (how a language
says it), ``documents.py`` and ``probes.py`` (what comes out).
"""

from langraft.corpus.almanac.documents import documents
from langraft.corpus.almanac.facts import LANGUAGES
from langraft.corpus.almanac.probes import probes

__all__ = ["LANGUAGES", "documents", "probes"]
