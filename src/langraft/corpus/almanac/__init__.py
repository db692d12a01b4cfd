"""The almanac: a small corpus of true and parallel text, made offline from Unicode CLDR.

Read the modules in the order in which documents are made: ``facts.py`` (facts of CLDR),
``outlines/`` (the statements of each document), ``names.py`` (CLDR's names of things), ``wording/``
and ``grammar/`` (a language's sentences and forms of names), ``sentences.py`` (a statement as a
sentence), ``documents.py`` and ``probes.py`` (documents and questions).
"""

from langraft.corpus.almanac.documents import documents
from langraft.corpus.almanac.facts import LANGUAGES
from langraft.corpus.almanac.probes import probes

__all__ = ["LANGUAGES", "documents", "probes"]
