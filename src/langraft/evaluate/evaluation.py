"""Measure one model at one moment of a run, and keep the results in a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from langraft.chat.heldout import read_heldout_conversations
from langraft.chat.template import ChatTemplate
from langraft.core.files import read_json, write_json
from langraft.core.settings.recipe import Recipe
from langraft.corpus.build import read_heldout
from langraft.evaluate.benchmarks.harness import score_plans
from langraft.evaluate.benchmarks.score_cache import ScoreCache
from langraft.evaluate.benchmarks.suite import AbstractProbeSuite
from langraft.evaluate.benchmarks.suites import SUITES
from langraft.evaluate.benchmarks.task_plan import plan_tasks
from langraft.evaluate.benchmarks.task_scores import NotRun, TaskScore
from langraft.evaluate.further_texts import further_texts
from langraft.evaluate.heldout import HeldoutScore, score_heldout
from langraft.evaluate.heldout_conversations import AnswerScore, score_answers
from langraft.evaluate.mixed_language import read_mixed
from langraft.evaluate.probes import score_probes
from langraft.evaluate.samples import continue_texts
from langraft.families.load import load_tokenizer
from langraft.tokenizers.document_tokenizer import DocumentTokenizer

_FILE = "evaluation.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What was measured of one model.

    Attributes:
        heldout: Bits per byte and routing by language.
        mixed: The same of documents that alternate between the first original language and a new
            one sentence by sentence, by the new one; empty unless the recipe names aligned text.
        texts: The same of the recipe's further texts, by name, then by language.
        probes: Suite, then language, then group: accuracy, chance, items.
        answers: Of held-out conversations, by language; empty unless the recipe has some.
        samples: Generated texts by language: prompt, continuation, reference.
        tasks: Suite, then the scores of its benchmarks.
        not_run: Suite, then what of it could not be scored, and why.
    """

    heldout: dict[str, HeldoutScore]
    probes: dict[str, dict[str, dict[str, dict[str, int | float]]]]
    samples: dict[str, list[dict[str, str]]]
    mixed: dict[str, HeldoutScore] = field(default_factory=dict[str, HeldoutScore])
    texts: dict[str, dict[str, HeldoutScore]] = field(
        default_factory=dict[str, dict[str, HeldoutScore]]
    )
    answers: dict[str, AnswerScore] = field(default_factory=dict[str, AnswerScore])
    tasks: dict[str, list[TaskScore]] = field(default_factory=dict[str, list[TaskScore]])
    not_run: dict[str, list[NotRun]] = field(default_factory=dict[str, list[NotRun]])

    def write(self, folder: Path) -> None:
        """Write ``evaluation.json``."""
        write_json(folder / _FILE, asdict(self))

    @classmethod
    def read(cls, folder: Path) -> Evaluation:
        """Read ``evaluation.json``; files of earlier versions have no benchmarks or answers.

        Raises:
            ArtifactError: when it is missing or damaged.
        """
        return read_json(folder / _FILE, cls)


def evaluate_model(
    model: Any,
    recipe: Recipe,
    *,
    corpus: Path,
    tokenizer: Path,
    instruct: Path | None = None,
    is_tuned: bool = False,
    cache: ScoreCache | None = None,
) -> Evaluation:
    """Measure a model as a recipe says.

    Args:
        model: A causal language model, grafted or not; put into evaluation mode.
        recipe: Says languages, suites and samples.
        corpus: Folder of the corpus step, which holds the held-out text.
        tokenizer: Folder of the model's tokenizer.
        instruct: Folder of the step that held out conversations, if there are any.
        is_tuned: Whether the last stage was chat; benchmarks are then asked without examples.
        cache: Of the model's benchmark scores; None computes all.

    Raises:
        EvaluationError: when a benchmark cannot be scored.
    """
    model.eval()
    settings, languages = recipe.evaluate, recipe.languages.all
    plans = plan_tasks(settings, languages)
    documents, loaded = DocumentTokenizer(tokenizer), load_tokenizer(tokenizer)
    texts = {code: read_heldout(corpus / code) for code in languages}
    return Evaluation(
        heldout=_score_texts(model, recipe, documents, texts),
        mixed=_score_texts(model, recipe, documents, mixed_texts(recipe)),
        texts={
            name: _score_texts(model, recipe, documents, found)
            for name, found in further_texts(recipe).items()
        },
        answers=_score_answers(model, recipe, loaded, instruct) if instruct else {},
        probes=_score_probes(model, settings.suites, languages, documents),
        samples={
            code: continue_texts(model, documents, texts[code][: settings.samples])
            for code in languages
        },
        tasks=score_plans(
            model,
            loaded,
            plans,
            batch_size=settings.batch_size,
            limit=settings.limit,
            is_tuned=is_tuned,
            cache=cache,
        ),
        not_run={suite: list(plan.not_run) for suite, plan in plans.items()},
    )


def _score_texts(
    model: Any, recipe: Recipe, tokenizer: DocumentTokenizer, texts: dict[str, list[str]]
) -> dict[str, HeldoutScore]:
    graft = getattr(model, "langraft", None)
    recorders = [expansion.recorder for expansion in graft.expansions] if graft else []
    length = recipe.training.sequence_length
    return {
        code: score_heldout(model, documents, tokenizer, length, recorders)
        for code, documents in texts.items()
    }


def _score_probes(
    model: Any, suites: Sequence[str], languages: Sequence[str], tokenizer: DocumentTokenizer
) -> dict[str, dict[str, dict[str, dict[str, int | float]]]]:
    return {
        name: {
            code: score_probes(model, suite.probes(code), tokenizer)
            for code in languages
            if code in suite.languages
        }
        for name in suites
        if isinstance(suite := SUITES[name](), AbstractProbeSuite)
    }


def _score_answers(
    model: Any, recipe: Recipe, tokenizer: Any, instruct: Path
) -> dict[str, AnswerScore]:
    assert recipe.instruct is not None
    chat = ChatTemplate.load(tokenizer, recipe.instruct.template)
    scores = {
        code: score_answers(
            model,
            read_heldout_conversations(instruct / code),
            chat,
            recipe.training.sequence_length,
        )
        for code in recipe.instruct.languages
    }
    return {code: score for code, score in scores.items() if score is not None}


def mixed_texts(recipe: Recipe) -> dict[str, list[str]]:
    """Return the mixed documents of a recipe by their new language.

    Raises:
        CorpusError: when the aligned text is missing.
    """
    if recipe.evaluate.mixed is None:
        return {}
    first, path = recipe.languages.original[0], recipe.evaluate.mixed
    return {code: read_mixed(path, first, code) for code in recipe.languages.new}
