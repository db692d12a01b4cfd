"""Everything that is measured of one model at one moment of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from langraft.core.artifacts import read_json, write_json
from langraft.core.recipe import Recipe
from langraft.corpus.build import read_heldout
from langraft.corpus.tokenizer import DocumentTokenizer
from langraft.evaluate.heldout import HeldoutScore, score_heldout
from langraft.evaluate.mixed import read_mixed
from langraft.evaluate.probes import score_probes
from langraft.evaluate.samples import continue_texts
from langraft.evaluate.suites import SUITES
from langraft.families.load import load_tokenizer

_EVALUATION = "evaluation.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What was measured of one model.

    Attributes:
        heldout: Bits per byte and routing by language.
        mixed: The same of documents that change between the first original language and a new
            one sentence by sentence, by the new one; empty unless the recipe names aligned text.
        probes: Suite, then language, then group: accuracy, chance, items.
        samples: Generated texts by language: prompt, continuation, reference.
    """

    heldout: dict[str, HeldoutScore]
    probes: dict[str, dict[str, dict[str, dict[str, float]]]]
    samples: dict[str, list[dict[str, str]]]
    mixed: dict[str, HeldoutScore] = field(default_factory=dict[str, HeldoutScore])

    def write(self, folder: Path) -> None:
        """Write ``evaluation.json``."""
        write_json(folder / _EVALUATION, asdict(self))

    @classmethod
    def read(cls, folder: Path) -> Evaluation:
        """Read what ``write`` wrote."""
        found = read_json(folder / _EVALUATION)
        scores = {
            kind: {code: HeldoutScore(**score) for code, score in found[kind].items()}
            for kind in ("heldout", "mixed")
        }
        return cls(probes=found["probes"], samples=found["samples"], **scores)


def evaluate_model(model: Any, recipe: Recipe, *, corpus: Path, tokenizer: Path) -> Evaluation:
    """Measure a model as a recipe says.

    Args:
        model: A causal language model, grafted or not; put into evaluation mode.
        recipe: Says languages, suites and samples.
        corpus: Folder of the corpus step, which holds the held-out text.
        tokenizer: Folder of the model's tokenizer.
    """
    model.eval()
    documents = DocumentTokenizer(tokenizer)
    info = getattr(model, "langraft", None)
    texts = {code: read_heldout(corpus / code) for code in recipe.languages.all}

    def score(of_language: dict[str, list[str]]) -> dict[str, HeldoutScore]:
        length = recipe.training.sequence_length
        recorders = [expansion.recorder for expansion in info.expansions] if info else []
        return {
            code: score_heldout(model, found, documents, length, recorders)
            for code, found in of_language.items()
        }

    return Evaluation(
        heldout=score(texts),
        mixed=score(mixed_texts(recipe)),
        probes={
            name: _score_suite(name, recipe.languages.all, model, documents)
            for name in recipe.evaluate.suites
        },
        samples={
            code: continue_texts(
                model, load_tokenizer(tokenizer), texts[code][: recipe.evaluate.samples]
            )
            for code in recipe.languages.all
        },
    )


def mixed_texts(recipe: Recipe) -> dict[str, list[str]]:
    """Return the mixed documents of a recipe by their new language.

    Raises:
        CorpusError: when the aligned text is missing.
    """
    if recipe.evaluate.mixed is None:
        return {}
    first, path = recipe.languages.original[0], recipe.evaluate.mixed
    return {code: read_mixed(path, first, code) for code in recipe.languages.new}


def _score_suite(
    name: str, languages: Sequence[str], model: Any, tokenizer: DocumentTokenizer
) -> dict[str, dict[str, dict[str, float]]]:
    suite = SUITES[name]()
    return {
        code: score_probes(model, suite.probes(code), tokenizer)
        for code in languages
        if code in suite.languages
    }
