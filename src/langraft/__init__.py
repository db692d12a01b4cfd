"""langraft grafts new languages onto a pretrained language model and keeps the old ones.

The names below are the whole public Python interface; everything else may move. They load when
first used, so that importing langraft costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from langraft.core.errors import LangraftError
    from langraft.evaluate.evaluation import evaluate_model
    from langraft.export.folder import export_model
    from langraft.graft.method import AbstractMethod as Method
    from langraft.graft.methods.moe_ct import MoECT
    from langraft.graft.methods.moe_lpr import MoELPR
    from langraft.graft.store import load, save
    from langraft.graft.surgery import graft_model
    from langraft.recipes.load import load_recipe
    from langraft.recipes.run import run

__all__ = [
    "LangraftError",
    "Method",
    "MoECT",
    "MoELPR",
    "evaluate_model",
    "export_model",
    "graft_model",
    "load",
    "load_recipe",
    "run",
    "save",
]

_HOMES = {
    "LangraftError": "langraft.core.errors:LangraftError",
    "Method": "langraft.graft.method:AbstractMethod",
    "MoECT": "langraft.graft.methods.moe_ct:MoECT",
    "MoELPR": "langraft.graft.methods.moe_lpr:MoELPR",
    "evaluate_model": "langraft.evaluate.evaluation:evaluate_model",
    "export_model": "langraft.export.folder:export_model",
    "graft_model": "langraft.graft.surgery:graft_model",
    "load": "langraft.graft.store:load",
    "load_recipe": "langraft.recipes.load:load_recipe",
    "run": "langraft.recipes.run:run",
    "save": "langraft.graft.store:save",
}


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'langraft' has no attribute {name!r}")
    module, _, attribute = _HOMES[name].partition(":")
    return getattr(importlib.import_module(module), attribute)
