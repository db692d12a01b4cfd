"""The contract of a model family: which standard MoE class holds its grafted form exactly."""

from __future__ import annotations

from typing import ClassVar

from langraft.core.registry import Registry
from langraft.families.twin import Twin


class AbstractFamily:
    """What must be known of an architecture beyond its structure.

    The file's name is the ``model_type`` of transformers, the docstring names the models. A family
    without such a file can be grafted, since its FFNs are found by structure, but is exported as a
    portable folder only.
    """

    twin: ClassVar[Twin]


FAMILIES = Registry("langraft.families.known", AbstractFamily, "family")
