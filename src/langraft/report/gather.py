"""What a run left, read from its folder: the one place of the report that touches files."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from langraft.core.artifacts import Manifest, read_json, read_manifest
from langraft.core.errors import ArtifactError
from langraft.core.recipe import Languages
from langraft.evaluate.evaluation import Evaluation
from langraft.evaluate.scorecard import Guarded, LanguageScore, Parameters, Scorecard
from langraft.evaluate.task_score import NotRun, TaskMean, TaskPair
from langraft.train.log import LOG
from langraft.train.spikes import Spike


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRecord:
    """One stage of one method: what was asked, what was done, what the model then scored.

    ``shares`` are those of each stream at the start and at the end.
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

    @property
    def is_all_trained(self) -> bool:
        """Whether nothing was frozen."""
        return self.trains == ("everything",)


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodRecord:
    """One method: the recipe's own or a baseline."""

    name: str
    scorecard: Scorecard
    stages: tuple[StageRecord, ...]


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
    """The folder that leaves the machine."""

    architecture: str
    experts: int
    weight_bytes: int
    largest_difference: float
    caveat: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """A finished run.

    Attributes:
        base_label: The base in words, without a path of this machine.
        base_hub_name: Its name on the hub; None for a local folder or a base trained here.
        methods: The recipe's own first.
        corpus: Counts by language.
        export: None when the recipe asks for none.
        seconds: Wall time by step, in the order of the run.
        versions: Of Python and packages; several where steps ran under different ones.
    """

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
    with _shaped(folder / "recipe.yaml"):
        languages = Languages.model_validate(recipe["languages"])
        own = _key(recipe["method"])
        stages_of = {own: [str(stage["name"]) for stage in recipe["stages"]]}
        for baseline in recipe["baselines"]:
            named = [str(stage["name"]) for stage in baseline.get("stages", ())]
            stages_of[_key(baseline)] = named or stages_of[own]
        name, seed, base = str(recipe["name"]), int(recipe["seed"]), recipe["base"]
        has_export = recipe["export"]["format"] != "none"
    steps: dict[str, Manifest] = {}

    def manifest(step: str) -> Manifest:
        with _shaped(folder / step / "manifest.json"):
            steps[step] = read_manifest(folder / step)
        return steps[step]

    manifest("tokenizer")
    corpus = manifest("corpus")
    base_manifest = manifest("base")
    manifest("evaluate-base")
    compared = read_json(folder / "comparison.json")
    methods: list[MethodRecord] = []
    export_record = None
    for method, stages in stages_of.items():
        at = "" if method == own else f"baselines/{method}/"
        with _shaped(folder / "comparison.json"):
            scorecard = _scorecard(compared["methods"][method])
        records: list[StageRecord] = []
        for stage in stages:
            trained = manifest(f"{at}train-{stage}")
            manifest(f"{at}evaluate-{stage}")
            records.append(_stage(folder / at, stage, trained))
        methods.append(MethodRecord(name=method, scorecard=scorecard, stages=tuple(records)))
        manifest(f"{at}graft")
        if method == own and has_export:
            with _shaped(folder / "export" / "manifest.json"):
                export_record = _pick(ExportRecord, manifest("export").counts)
    with _shaped(folder / "base" / "manifest.json"):
        label, hub_name = _base(base, str(base_manifest.counts["path"]))
    with _shaped(folder / "corpus" / "manifest.json"):
        counts = {code: _pick(CorpusCounts, corpus.counts[code]) for code in languages.all}
    return RunRecord(
        name=name,
        seed=seed,
        recipe_text=text,
        languages=languages,
        base_label=label,
        base_hub_name=hub_name,
        before=_evaluation(folder / "evaluate-base", languages.all),
        methods=tuple(methods),
        corpus=counts,
        export=export_record,
        seconds={step: found.seconds for step, found in steps.items()},
        versions=_versions(list(steps.values())),
    )


@contextlib.contextmanager
def _shaped(path: Path) -> Generator[None]:
    """Turn the surprises of a file's shape into one clear message."""
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
    """Build a record from the keys it knows."""
    return record(**{field.name: found[field.name] for field in fields(record)})


def _scorecard(found: dict[str, Any]) -> Scorecard:
    scores = {code: LanguageScore(**score) for code, score in found["bits_per_byte"].items()}
    nested: dict[str, Any] = {
        "bits_per_byte": scores,
        "parameters": Parameters(**found["parameters"]),
        "guarded": Guarded(**found["guarded"]) if found["guarded"] else None,
        "answers": {
            code: LanguageScore(**score) for code, score in found.get("answers", {}).items()
        },
        "tasks": _by_suite(TaskPair, found.get("tasks", {})),
        "task_means": _by_suite(TaskMean, found.get("task_means", {})),
        "not_run": _by_suite(NotRun, found.get("not_run", {})),
    }
    return Scorecard(**{**found, **nested})


def _by_suite(record: Any, found: dict[str, list[dict[str, Any]]]) -> dict[str, list[Any]]:
    return {suite: [record(**each) for each in of_suite] for suite, of_suite in found.items()}


def _stage(folder: Path, name: str, trained: Manifest) -> StageRecord:
    at = folder / f"train-{name}"
    with _shaped(at / "manifest.json"):
        stage, counts, languages = (
            trained.inputs["stage"],
            trained.counts,
            Languages.model_validate(trained.inputs["languages"]),
        )
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
    with _shaped(folder / "evaluation.json"):
        found = Evaluation.read(folder)
        missing = [code for code in languages if code not in found.heldout]
        if missing:
            raise ValueError(f"no held-out score of {', '.join(missing)}")
        return found


def _base(base: Any, path: str) -> tuple[str, str | None]:
    """Return a base in words and its hub name; a folder's name alone, never its place."""
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
