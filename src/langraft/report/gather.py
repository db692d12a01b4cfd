"""Read the results of a run from its folder; the rest of the report reads only the logs."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from langraft.core.artifacts import Manifest, read_manifest
from langraft.core.errors import ArtifactError
from langraft.core.files import read_json
from langraft.core.settings.languages import Languages
from langraft.core.settings.recipe import merge_key
from langraft.evaluate.benchmarks.task_means import SuiteMean, TaskMean
from langraft.evaluate.benchmarks.task_scores import NotRun, TaskPair
from langraft.evaluate.evaluation import Evaluation
from langraft.evaluate.scorecard import (
    Guarded,
    LanguageScore,
    Parameters,
    Scorecard,
    TextScore,
)
from langraft.report.origin import Origin
from langraft.train.log import LOG
from langraft.train.spikes import Spike


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRecord:
    """One stage of one method: its settings, its training, and the evaluation after it.

    ``shares`` has the share of each stream at the start and at the end.
    """

    name: str
    trains: tuple[str, ...]
    shares: dict[str, tuple[float, float]]
    losses: dict[str, float]
    lr: float
    schedule: str
    tokens: int
    steps: int
    epochs: dict[str, float]
    trained_parameters: int
    frozen_fingerprint: str
    seconds: float
    rare_tokens: int
    spikes: tuple[Spike, ...]
    log: Path
    evaluation: Evaluation


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodRecord:
    """One method: the recipe's own, a baseline, or one of these merged with its base.

    Attributes:
        stages: Empty for a merge, which is not trained.
        evaluation: Of the final model.
    """

    name: str
    scorecard: Scorecard
    stages: tuple[StageRecord, ...]
    evaluation: Evaluation


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusCounts:
    """One language's text."""

    documents: int
    tokens: int
    bytes: int
    heldout_documents: int
    heldout_tokens: int
    heldout_bytes: int
    kept_out_of_training: int
    dropped: dict[str, int]
    broken: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRecord:
    """The exported folder."""

    architecture: str
    experts: int
    weight_bytes: int
    largest_difference: float
    caveat: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """A finished run.

    Attributes:
        folder: Where it is.
        origin: When and where it was made.
        base_label: The base in words, without local paths.
        base_hub_name: Its name on the hub; None for a local folder or a base trained here.
        methods: The recipe's own first, merges last.
        corpus: Counts by language.
        export: None when the recipe asks for none.
        seconds: Wall time by step, in the order of the run.
        versions: Versions of Python and packages; several if steps ran with different ones.
    """

    folder: Path
    origin: Origin
    name: str
    seed: int
    recipe_text: str
    languages: Languages
    base_label: str
    base_hub_name: str | None
    before: Evaluation
    methods: tuple[MethodRecord, ...]
    corpus: dict[str, CorpusCounts]
    export: ExportRecord | None
    seconds: dict[str, float]
    versions: dict[str, tuple[str, ...]]


def gather(folder: Path) -> RunRecord:
    """Read a finished run.

    Raises:
        ArtifactError: when a file is missing, damaged or not what this version writes.
    """
    text, recipe = _read_recipe(folder / "recipe.yaml")
    with _checked(folder / "recipe.yaml"):
        languages = Languages.model_validate(recipe["languages"])
        stages_of, merges_of = _stages_by_method(recipe), _merges_by_method(recipe)
        name, seed, base = str(recipe["name"]), int(recipe["seed"]), recipe["base"]
        has_export = recipe["export"]["format"] != "none"
    steps = ["tokenizer", "corpus", "base", "evaluate-base"]
    for method, (at, stages) in stages_of.items():
        for stage in stages:
            steps += [f"{at}train-{stage}", f"{at}evaluate-{stage}"]
        steps += [f"{at}graft", *(f"{at}{merge}" for merge in merges_of[method].values())]
        steps += ["export"] * (has_export and not at)
    manifests = {step: _manifest(folder, step) for step in steps}
    compared = read_json(folder / "comparison.json", dict[str, Any])
    with _checked(folder / "comparison.json"):
        keys = (*stages_of, *(key for of_method in merges_of.values() for key in of_method))
        scorecards = {key: _scorecard(compared["methods"][key]) for key in keys}
    with _checked(folder / "export" / "manifest.json"):
        export = _pick(ExportRecord, manifests["export"].counts) if has_export else None
    with _checked(folder / "base" / "manifest.json"):
        label, hub_name = base_in_words(base, str(manifests["base"].counts["path"]))
    with _checked(folder / "corpus" / "manifest.json"):
        counts = {c: _pick(CorpusCounts, manifests["corpus"].counts[c]) for c in languages.all}
    return RunRecord(
        folder=folder,
        origin=Origin.of(label, list(manifests.values())),
        name=name,
        seed=seed,
        recipe_text=text,
        languages=languages,
        base_label=label,
        base_hub_name=hub_name,
        before=_evaluation(folder / "evaluate-base", languages.all),
        methods=(
            *(
                _trained(folder / at, scorecards[method], stages, manifests, at)
                for method, (at, stages) in stages_of.items()
            ),
            *(
                MethodRecord(
                    name=key,
                    scorecard=scorecards[key],
                    stages=(),
                    evaluation=_evaluation(folder / stages_of[method][0] / step, languages.all),
                )
                for method, of_method in merges_of.items()
                for key, step in of_method.items()
            ),
        ),
        corpus=counts,
        export=export,
        seconds={step: found.seconds for step, found in manifests.items()},
        versions=_versions(list(manifests.values())),
    )


def _stages_by_method(recipe: Any) -> dict[str, tuple[str, list[str]]]:
    """Return by method, the recipe's own first, where its steps are and the names of its stages."""
    own = [str(stage["name"]) for stage in recipe["stages"]]
    found = {_key(recipe["method"]): ("", own)}
    for baseline in recipe["baselines"]:
        key = _key(baseline)
        names = [str(stage["name"]) for stage in baseline.get("stages", ())]
        found[key] = (f"baselines/{key}/", names or own)
    return found


def _merges_by_method(recipe: Any) -> dict[str, dict[str, str]]:
    """Return, by method, the keys of its merges with the base, and their steps."""
    return {
        _key(method): {
            merge_key(_key(method), float(weight)): f"merge-{float(weight):g}"
            for weight in method.get("merges", ())
        }
        for method in (recipe["method"], *recipe["baselines"])
    }


def _manifest(folder: Path, step: str) -> Manifest:
    with _checked(folder / step / "manifest.json"):
        return read_manifest(folder / step)


@contextlib.contextmanager
def _checked(path: Path) -> Generator[None]:
    """Raise one clear error for whatever a file lacks or has of the wrong kind."""
    try:
        yield
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"{path} is not what this version of langraft writes "
            f"({type(error).__name__}: {error}). Run the recipe again into a new folder."
        ) from error


def _read_recipe(path: Path) -> tuple[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        return text, yaml.safe_load(text)
    except FileNotFoundError:
        raise ArtifactError(
            f"{path} does not exist. Give the folder of a finished run: langraft run writes it."
        ) from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ArtifactError(f"{path} is damaged ({error}). Run the recipe again.") from None


def _key(method: dict[str, Any]) -> str:
    return str(method.get("label") or method["name"])


def _pick(record: Any, found: dict[str, Any]) -> Any:
    """Build a record from the keys that are its fields."""
    return record(**{field.name: found[field.name] for field in fields(record)})


def _scorecard(found: dict[str, Any]) -> Scorecard:
    scores = {code: LanguageScore(**score) for code, score in found["bits_per_byte"].items()}
    nested: dict[str, Any] = {
        "bits_per_byte": scores,
        "parameters": Parameters(**found["parameters"]),
        "guarded": _guarded(found["guarded"]) if found["guarded"] else None,
        "texts": _texts(found),
        "answers": {
            code: LanguageScore(**score) for code, score in found.get("answers", {}).items()
        },
        "tasks": _by_suite(TaskPair, found.get("tasks", {})),
        "task_means": _by_suite(TaskMean, found.get("task_means", {})),
        "suite_means": _by_suite(SuiteMean, found.get("suite_means", {})),
        "not_run": _by_suite(NotRun, found.get("not_run", {})),
    }
    return Scorecard(**{**found, **nested})


def _guarded(found: dict[str, Any]) -> Guarded:
    keys: dict[str, Any] = {**found, "texts": _texts(found)}
    return Guarded(**keys)


def _texts(found: dict[str, Any]) -> dict[str, TextScore]:
    texts: dict[str, TextScore] = {}
    for name, text in found.get("texts", {}).items():
        scores = {code: LanguageScore(**score) for code, score in text["bits_per_byte"].items()}
        keys: dict[str, Any] = {**text, "bits_per_byte": scores}
        texts[name] = TextScore(**keys)
    return texts


def _by_suite(record: Any, found: dict[str, list[dict[str, Any]]]) -> dict[str, list[Any]]:
    return {suite: [record(**each) for each in of_suite] for suite, of_suite in found.items()}


def _trained(
    folder: Path, card: Scorecard, stages: Sequence[str], manifests: dict[str, Manifest], at: str
) -> MethodRecord:
    records = tuple(_stage(folder, stage, manifests[f"{at}train-{stage}"]) for stage in stages)
    return MethodRecord(
        name=card.method, scorecard=card, stages=records, evaluation=records[-1].evaluation
    )


def _stage(folder: Path, name: str, trained: Manifest) -> StageRecord:
    at = folder / f"train-{name}"
    with _checked(at / "manifest.json"):
        stage, counts = trained.inputs["stage"], trained.counts
        languages = Languages.model_validate(trained.inputs["languages"])
        trains: str | list[str] = stage["trains"]
        return StageRecord(
            name=name,
            trains=(trains,) if isinstance(trains, str) else tuple(trains),
            shares={name: (first, last) for name, (first, last) in counts["shares"].items()},
            losses=dict(stage["losses"] or {}),
            lr=stage["lr"],
            schedule=stage["schedule"],
            tokens=counts["tokens"],
            steps=counts["steps"],
            epochs=dict(counts["epochs"]),
            trained_parameters=counts["trained_parameters"],
            frozen_fingerprint=counts["frozen_fingerprint"],
            seconds=counts["seconds"],
            rare_tokens=counts["rare_tokens"],
            spikes=tuple(Spike.from_json(spike) for spike in counts["spikes"]),
            log=at / LOG,
            evaluation=_evaluation(folder / f"evaluate-{name}", languages.all),
        )


def _evaluation(folder: Path, languages: Sequence[str]) -> Evaluation:
    with _checked(folder / "evaluation.json"):
        found = Evaluation.read(folder)
        missing = [code for code in languages if code not in found.heldout]
        if missing:
            raise ValueError(f"no held-out score of {', '.join(missing)}")
        return found


def base_in_words(base: Any, path: str) -> tuple[str, str | None]:
    """Return a base in words and its hub name; of a folder only the name, never the path."""
    if not isinstance(base, str):
        return f"a {base['architecture']} model trained in this run", None
    if Path(path) == Path(base).resolve():
        is_graft = (Path(path) / "graft.json").is_file()
        return f"the graft of {Path(path).parent.name}" if is_graft else Path(path).name, None
    return base, base


def _versions(manifests: Sequence[Manifest]) -> dict[str, tuple[str, ...]]:
    names = dict.fromkeys(name for manifest in manifests for name in manifest.versions)
    return {
        name: tuple(dict.fromkeys(m.versions[name] for m in manifests if name in m.versions))
        for name in names
    }
