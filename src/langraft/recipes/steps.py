"""What each step of a run reads and makes; ``run.py`` says in which order."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from rich.console import Console
from transformers import AutoConfig, AutoModelForCausalLM

from langraft.core.artifacts import Manifest, read_json, read_manifest, write_json
from langraft.core.errors import ModelError
from langraft.core.recipe import Recipe, ScratchBase, Stage
from langraft.corpus.build import build_corpus, documents
from langraft.corpus.shards import TokenShards
from langraft.corpus.source import AbstractSource
from langraft.corpus.tokenizer import DocumentTokenizer, train_tokenizer
from langraft.curriculum.index import MixtureIndex
from langraft.curriculum.loader import PackedLoader
from langraft.curriculum.schedule import MixtureSchedule
from langraft.evaluate.evaluation import evaluate_model
from langraft.export.folder import export_model, twin_of
from langraft.families.load import check_base, empty_model, load_model, resolve_base
from langraft.graft.method import AbstractMethod
from langraft.graft.methods.full import Full
from langraft.graft.store import fingerprint_base, load_tensors, read_tensors, save
from langraft.graft.surgery import graft_info, graft_model
from langraft.graft.token_rows import rare_tokens
from langraft.recipes.plan import Plan, plan_method
from langraft.report.page import write_report
from langraft.train.loop import WEIGHTS, train_stage
from langraft.train.parallel import Processes, join_processes

__all__ = ["join_processes"]

_TOKENIZER_SAMPLE_CHARACTERS = 50_000_000
_WEIGHT_FILES = ("*.safetensors", "*.json", "*.model", "*.txt", "*.jinja")


def check_before_running(recipe: Recipe) -> None:
    """Refuse what a later step would refuse, before anything is spent.

    Raises:
        ModelError: when the base cannot be grafted.
        ExportError: when the export asked for has no standard format.
    """
    if isinstance(recipe.base, ScratchBase):
        config = scratch_config(recipe.base, eos_token_id=0).to_dict()
    else:
        config = check_base(resolve_base(recipe.base))
    has_experts = "experts" in cast("AbstractMethod", recipe.method).groups
    if recipe.export.format != "none" and has_experts:
        twin_of(config)


def scratch_config(base: ScratchBase, eos_token_id: int) -> Any:
    """Return the transformers config of a base to be trained.

    Raises:
        ModelError: when the architecture is unknown or refuses its arguments.
    """
    try:
        config = AutoConfig.for_model(
            base.architecture,
            bos_token_id=None,
            eos_token_id=eos_token_id,
            pad_token_id=None,
            **{"vocab_size": base.tokenizer.vocab_size, **base.config},
        )
    except Exception as error:  # transformers raises many kinds for wrong arguments
        raise ModelError(
            f"base.architecture {base.architecture!r} with base.config {dict(base.config)} is not "
            f"a model that transformers can build: {error}"
        ) from error
    return config


def sources(recipe: Recipe) -> list[AbstractSource]:
    """Return the recipe's sources as what they are."""
    return [cast("AbstractSource", source) for source in recipe.corpus]


def _source_inputs(recipe: Recipe) -> list[Any]:
    return [[s.model_dump(mode="json"), s.fingerprint()] for s in sources(recipe)]


class BaseSource:
    """Where the base and its tokenizer come from: a folder, a hub, or training."""

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        """Bind a recipe to the run's folder."""
        self._recipe = recipe
        self._folder = folder

    def tokenizer_inputs(self) -> dict[str, Any]:
        """Return what the tokenizer depends on."""
        base = self._recipe.base
        if isinstance(base, ScratchBase):
            return {
                "tokenizer": base.tokenizer.model_dump(mode="json"),
                "mixture": base.tokenizer_mixture,
                "sources": _source_inputs(self._recipe),
            }
        return {"base": base, "fingerprint": fingerprint_base(resolve_base(base))}

    def make_tokenizer(self, folder: Path) -> dict[str, Any]:
        """Train the tokenizer of a scratch base, or copy the base's."""
        base = self._recipe.base
        if isinstance(base, ScratchBase):
            texts = _balanced_texts(self._recipe, base.tokenizer_mixture)
            train_tokenizer(texts, base.tokenizer.vocab_size, folder)
            eos = DocumentTokenizer(folder).end_of_text_id
            write_json(folder / "config.json", {"eos_token_id": eos})
        else:
            for pattern in ("tokenizer*", "special_tokens_map.json", "config.json"):
                for path in resolve_base(base).glob(pattern):
                    shutil.copy(path, folder / path.name)
        return {"vocab_size": DocumentTokenizer(folder).vocab_size}

    def base_inputs(self, corpus: Manifest) -> dict[str, Any]:
        """Return what the base depends on."""
        base = self._recipe.base
        if isinstance(base, ScratchBase):
            return {
                "base": base.model_dump(mode="json"),
                "training": _training_inputs(self._recipe),
                "seed": self._recipe.seed,
                "corpus": corpus.fingerprint,
            }
        return {"base": base, "fingerprint": fingerprint_base(resolve_base(base))}

    def make_base(self, folder: Path, processes: Processes, console: Console) -> dict[str, Any]:
        """Train a scratch base and save it as transformers does; a given base stays where it is."""
        base = self._recipe.base
        if not isinstance(base, ScratchBase):
            path = resolve_base(base)
            return {"path": str(path), "fingerprint": fingerprint_base(path)}
        tokenizer = DocumentTokenizer(self._folder / "tokenizer")
        torch.manual_seed(self._recipe.seed)
        config = scratch_config(base, tokenizer.end_of_text_id)
        model: Any = graft_model(AutoModelForCausalLM.from_config(config), Full())
        stage = base.stage.model_copy(update={"trains": "everything", "losses": {}})
        result = train_stage(
            model,
            stage=stage,
            training=self._recipe.training,
            languages=self._recipe.languages,
            loader=make_loader(self._recipe, stage, self._folder / "corpus"),
            seed=self._recipe.seed,
            folder=folder,
            processes=processes,
            console=console,
        )
        if processes.is_leader:
            whole_model: Any = AutoModelForCausalLM.from_config(config)
            load_tensors(whole_model, read_tensors(folder / WEIGHTS), folder / WEIGHTS)
            whole_model.save_pretrained(folder / "model")
            for path in (self._folder / "tokenizer").glob("tokenizer*"):
                shutil.copy(path, folder / "model" / path.name)
            (folder / WEIGHTS).unlink()
            shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        return {
            "path": "model",
            "fingerprint": fingerprint_base(folder / "model") if processes.is_leader else "",
            "tokens": result.num_tokens,
            "seconds": result.seconds,
        }


def base_folder(run_folder: Path) -> Path:
    """Return the folder of the run's base model."""
    manifest = read_manifest(run_folder / "base")
    return (run_folder / "base" / manifest.counts["path"]).resolve()


def _balanced_texts(recipe: Recipe, mixture: Mapping[str, float]) -> Iterator[str]:
    """Yield text of each language in proportion to its share, as much as the scarcest allows."""
    total = sum(mixture.values())
    texts: dict[str, list[str]] = {}
    for code, weight in mixture.items():
        texts[code], room = [], _TOKENIZER_SAMPLE_CHARACTERS * weight / total
        for document in documents(sources(recipe), code, Counter()):
            if room <= 0:
                break
            if document.split != "heldout":
                texts[code].append(document.text)
                room -= len(document.text)
    scale = min(sum(map(len, texts[code])) / weight for code, weight in mixture.items())
    for code, weight in mixture.items():
        room = scale * weight
        for text in texts[code]:
            if room <= 0:
                break
            yield text
            room -= len(text)


def corpus_inputs(recipe: Recipe, tokenizer: Manifest) -> dict[str, Any]:
    """Return what the corpus depends on."""
    return {
        "sources": _source_inputs(recipe),
        "languages": recipe.languages.all,
        "heldout": recipe.evaluate.heldout,
        "tokenizer": tokenizer.fingerprint,
    }


def make_corpus(recipe: Recipe, tokenizer: Path, folder: Path, console: Console) -> dict[str, Any]:
    """Read and tokenize all languages."""
    with console.status("reading and tokenizing") as status:
        counts = build_corpus(
            sources=sources(recipe),
            languages=recipe.languages.all,
            tokenizer=DocumentTokenizer(tokenizer),
            heldout_tokens=recipe.evaluate.heldout,
            folder=folder,
            report=lambda code, tokens: status.update(f"tokenizing {code}: {tokens:,} tokens"),
        )
    for code, found in counts.items():
        broken = sum(found["broken"].values())
        console.print(
            f"  {code}: {found['documents']:,} documents, {found['tokens']:,} tokens, "
            f"{found['heldout_tokens']:,} held out" + (f", {broken:,} broken" if broken else "")
        )
    return counts


def make_loader(recipe: Recipe, stage: Stage, corpus: Path) -> PackedLoader:
    """Return the batches of a stage."""
    length = recipe.training.sequence_length
    shards = {code: TokenShards(corpus / code) for code in stage.mixture}
    index = MixtureIndex(
        MixtureSchedule(stage.mixture),
        {code: shard.num_tokens // length for code, shard in shards.items()},
        recipe.seed,
        stage.name,
    )
    return PackedLoader(index, shards, recipe.languages.all, length)


def _training_inputs(recipe: Recipe) -> dict[str, Any]:
    """Return the training settings that change weights, not those that only watch."""
    return recipe.training.model_dump(mode="json", exclude={"checkpoint_every", "tensorboard"})


class MethodTrainer:
    """One method on its way through the recipe's stages, the model kept between steps."""

    def __init__(
        self,
        recipe: Recipe,
        method: AbstractMethod,
        run_folder: Path,
        folder: Path,
        processes: Processes,
        console: Console,
    ) -> None:
        """Bind a method to its folder; stages are the recipe's, completed by the method."""
        self.stages = method_stages(recipe, method)
        self._recipe = recipe
        self._method = method
        self._run_folder = run_folder
        self._folder = folder
        self._processes = processes
        self._console = console
        self._model: Any = None
        self._num_stages_done = -1

    def stage_inputs(self, number: int, before: Manifest, corpus: Manifest) -> dict[str, Any]:
        """Return what a stage depends on."""
        return {
            "method": self._method.model_dump(mode="json"),
            "stage": self.stages[number].model_dump(mode="json"),
            "training": _training_inputs(self._recipe),
            "languages": self._recipe.languages.model_dump(mode="json"),
            "seed": self._recipe.seed,
            "before": before.fingerprint,
            "corpus": corpus.fingerprint,
        }

    def train(self, number: int, folder: Path) -> dict[str, Any]:
        """Train one stage."""
        stage = self.stages[number]
        loader = make_loader(self._recipe, stage, self._run_folder / "corpus")
        result = train_stage(
            self._model_after(number),
            stage=stage,
            training=self._recipe.training,
            languages=self._recipe.languages,
            loader=loader,
            seed=self._recipe.seed,
            folder=folder,
            processes=self._processes,
            console=self._console,
        )
        self._num_stages_done = number + 1
        if self._processes.world_size > 1:
            self._model = None  # sharded; what comes next loads the whole one
        if self._processes.is_leader:
            shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        samples = result.num_steps * self._recipe.training.batch_rows
        epochs = loader.index.epochs(samples)
        return {
            "steps": result.num_steps,
            "tokens": result.num_tokens,
            "trained_parameters": result.num_trained,
            "frozen_fingerprint": result.frozen_fingerprint,
            "seconds": result.seconds,
            "epochs": {code: round(times, 3) for code, times in epochs.items()},
            "rare_tokens": len(self._rare_tokens()),
        }

    def evaluate(self, name: str, folder: Path) -> dict[str, Any]:
        """Evaluate the base or the model after a stage."""
        if name == "base":
            model: Any = load_model(base_folder(self._run_folder))
            model.to(self._processes.device)
        else:
            names = [stage.name for stage in self.stages]
            model = self._model_after(names.index(name) + 1)
        found = evaluate_model(
            model,
            self._recipe,
            corpus=self._run_folder / "corpus",
            tokenizer=base_folder(self._run_folder),
        )
        found.write(folder)
        return {"bits_per_byte": {c: round(s.bits_per_byte, 4) for c, s in found.heldout.items()}}

    def save_graft(self, folder: Path) -> dict[str, Any]:
        """Save the small form after the last stage."""
        model = self._model_after(len(self.stages))
        save(model, folder, base=base_folder(self._run_folder))
        return {"is_base_changed": graft_info(model).is_base_changed}

    def plan(self) -> Plan:
        """Count the grafted model."""
        model = empty_model(base_folder(self._run_folder))
        graft_model(model, self._method, rare_tokens=self._rare_tokens())
        return plan_method(model, self.stages, self._recipe.training, self._method.name)

    def seconds(self) -> float:
        """Return the training time of all stages."""
        folders = [self._folder / f"train-{stage.name}" for stage in self.stages]
        return round(sum(read_manifest(folder).counts["seconds"] for folder in folders), 3)

    def _rare_tokens(self) -> list[int]:
        if self._method.token_rows != "rare":
            return []
        folders = [self._run_folder / "corpus" / c for c in self._recipe.languages.original]
        counts = [TokenShards(folder).token_counts for folder in folders]
        return rare_tokens(counts, self._method.token_rows_share)

    def _model_after(self, num_stages: int) -> Any:
        """Return the model after so many stages: the one in memory, or rebuilt from files."""
        if self._model is None or self._num_stages_done != num_stages:
            dtype = getattr(torch, self._recipe.training.dtype)
            base = load_model(base_folder(self._run_folder), dtype)
            self._model = graft_model(
                base, self._method, rare_tokens=self._rare_tokens(), seed=self._recipe.seed
            )
            for stage in self.stages[:num_stages]:
                path = self._folder / f"train-{stage.name}" / WEIGHTS
                load_tensors(self._model, read_tensors(path), path)
                graft_info(self._model).is_base_changed |= stage.trains == "everything"
            self._model.to(self._processes.device)
            self._num_stages_done = num_stages
        return self._model


def evaluation_inputs(recipe: Recipe, model: Manifest, corpus: Manifest) -> dict[str, Any]:
    """Return what an evaluation depends on."""
    return {
        "evaluate": recipe.evaluate.model_dump(mode="json"),
        "sequence_length": recipe.training.sequence_length,
        "languages": recipe.languages.all,
        "model": model.fingerprint,
        "corpus": corpus.fingerprint,
    }


def make_export(recipe: Recipe, graft_folder: Path, folder: Path) -> dict[str, Any]:
    """Export the graft and say what loads it."""
    result = export_model(graft_folder, folder, shard_bytes=recipe.export.shard_bytes)
    return {
        "architecture": result.architecture,
        "experts": result.num_experts,
        "weight_bytes": result.num_bytes,
        "largest_difference": result.largest_difference,
        "caveat": result.caveat,
    }


def plan_recipe(recipe: Recipe) -> list[Plan]:
    """Plan the recipe's method and its baselines without reading any text or weights.

    Raises:
        ModelError: when the base cannot be grafted.
    """
    check_before_running(recipe)
    plans: list[Plan] = []
    for method in (recipe.method, *recipe.baselines):
        assert isinstance(method, AbstractMethod)
        if isinstance(recipe.base, ScratchBase):
            with torch.device("meta"):
                model: Any = AutoModelForCausalLM.from_config(scratch_config(recipe.base, 0))
        else:
            model = empty_model(resolve_base(recipe.base))
        is_rare = method.token_rows == "rare"
        graft_model(model, method, rare_tokens=range(model.config.vocab_size) if is_rare else ())
        plan = plan_method(model, method_stages(recipe, method), recipe.training, method.name)
        note = (
            "which token rows are rare is known once the corpus is read; here all count as trained"
        )
        plans.append(replace(plan, notes=(note,)) if is_rare else plan)
    return plans


def method_stages(recipe: Recipe, method: AbstractMethod) -> tuple[Stage, ...]:
    """Return the recipe's stages for a method: its own as written, a baseline's completed anew."""
    if method is recipe.method:
        return recipe.stages
    blank = {"trains": None, "losses": None}
    return tuple(method.complete_stage(stage.model_copy(update=blank)) for stage in recipe.stages)


def report_inputs(folder: Path) -> dict[str, Any]:
    """Return what the report depends on: every manifest of the run and the comparison."""
    found = sorted(p for p in folder.rglob("manifest.json") if p.parent.name != "report")
    return {
        "steps": [[str(p.relative_to(folder)), read_json(p)["fingerprint"]] for p in found],
        "comparison": read_json(folder / "comparison.json"),
    }


def make_report(run_folder: Path, folder: Path) -> dict[str, Any]:
    """Write the report and the model card."""
    return write_report(run_folder, folder)
