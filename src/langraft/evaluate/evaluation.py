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
from langraft.evaluate.answers import AnswerScore, score_answers
from langraft.evaluate.harness import score_plans
from langraft.evaluate.heldout import HeldoutScore, score_heldout
from langraft.evaluate.mixed import read_mixed
from langraft.evaluate.probes import score_probes
from langraft.evaluate.samples import continue_texts
from langraft.evaluate.suite import AbstractProbeSuite
from langraft.evaluate.suites import SUITES
from langraft.evaluate.task_cache import TaskCache
from langraft.evaluate.task_plan import plan_tasks
from langraft.evaluate.task_score import NotRun, TaskScore
from langraft.families.load import load_tokenizer
from langraft.instruct.chat_template import ChatFormat, template_text
from langraft.instruct.kept_apart import read_kept_apart

_EVALUATION = "evaluation.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What was measured of one model.

    Attributes:
        heldout: Bits per byte and routing by language.
        mixed: The same of documents that change between the first original language and a new
            one sentence by sentence, by the new one; empty unless the recipe names aligned text.
        probes: Suite, then language, then group: accuracy, chance, items.
        answers: Of held-out conversations, by language; empty unless the recipe has some.
        samples: Generated texts by language: prompt, continuation, reference.
        tasks: Suite, then the scores of its benchmarks.
        not_run: Suite, then what of it could not be scored, and why.
    """

    heldout: dict[str, HeldoutScore]
    probes: dict[str, dict[str, dict[str, dict[str, float]]]]
    samples: dict[str, list[dict[str, str]]]
    mixed: dict[str, HeldoutScore] = field(default_factory=dict[str, HeldoutScore])
    answers: dict[str, AnswerScore] = field(default_factory=dict[str, AnswerScore])
    tasks: dict[str, list[TaskScore]] = field(default_factory=dict[str, list[TaskScore]])
    not_run: dict[str, list[NotRun]] = field(default_factory=dict[str, list[NotRun]])

    def write(self, folder: Path) -> None:
        """Write ``evaluation.json``."""
        write_json(folder / _EVALUATION, asdict(self))

    @classmethod
    def read(cls, folder: Path) -> Evaluation:
        """Read what ``write`` wrote; an earlier version wrote no benchmarks and no answers."""
        found = read_json(folder / _EVALUATION)
        scores = {
            kind: {code: HeldoutScore(**score) for code, score in found[kind].items()}
            for kind in ("heldout", "mixed")
        }
        tasks = {
            suite: [TaskScore(**score) for score in of_suite]
            for suite, of_suite in found.get("tasks", {}).items()
        }
        not_run = {
            suite: [NotRun(**each) for each in of_suite]
            for suite, of_suite in found.get("not_run", {}).items()
        }
        return cls(
            probes=found["probes"],
            samples=found["samples"],
            answers={c: AnswerScore(**score) for c, score in found.get("answers", {}).items()},
            tasks=tasks,
            not_run=not_run,
            **scores,
        )


def evaluate_model(
    model: Any,
    recipe: Recipe,
    *,
    corpus: Path,
    tokenizer: Path,
    instruct: Path | None = None,
    is_tuned: bool = False,
    cache: TaskCache | None = None,
) -> Evaluation:
    """Measure a model as a recipe says.

    Args:
        model: A causal language model, grafted or not; put into evaluation mode.
        recipe: Says languages, suites and samples.
        corpus: Folder of the corpus step, which holds the held-out text.
        tokenizer: Folder of the model's tokenizer.
        instruct: Folder of the step that kept conversations apart, if there are any.
        is_tuned: Whether the last stage was chat; benchmarks are then put to it without examples.
        cache: Of the model's benchmark scores; None computes all.

    Raises:
        EvaluationError: when a benchmark cannot be scored.
    """
    model.eval()
    plans = plan_tasks(recipe.evaluate, recipe.languages.all)
    documents, loaded = DocumentTokenizer(tokenizer), load_tokenizer(tokenizer)
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
        answers=_score_answers(model, recipe, instruct, loaded) if instruct else {},
        probes={
            name: _score_probes(suite, recipe.languages.all, model, documents)
            for name in recipe.evaluate.suites
            if isinstance(suite := SUITES[name](), AbstractProbeSuite)
        },
        samples={
            code: continue_texts(model, loaded, texts[code][: recipe.evaluate.samples])
            for code in recipe.languages.all
        },
        tasks=score_plans(
            model,
            loaded,
            plans,
            batch_size=recipe.evaluate.batch_size,
            limit=recipe.evaluate.limit,
            is_tuned=is_tuned,
            cache=cache,
        ),
        not_run={suite: list(plan.not_run) for suite, plan in plans.items()},
    )


def _score_answers(
    model: Any, recipe: Recipe, instruct: Path, tokenizer: Any
) -> dict[str, AnswerScore]:
    assert recipe.instruct is not None
    chat = ChatFormat(tokenizer, template_text(recipe.instruct.template, tokenizer))
    scores = {
        code: score_answers(
            model, read_kept_apart(instruct / code), chat, recipe.training.sequence_length
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


def _score_probes(
    suite: AbstractProbeSuite, languages: Sequence[str], model: Any, tokenizer: DocumentTokenizer
) -> dict[str, dict[str, dict[str, float]]]:
    return {
        code: score_probes(model, suite.probes(code), tokenizer)
        for code in languages
        if code in suite.languages
    }
