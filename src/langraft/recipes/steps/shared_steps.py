"""The steps of a run outside training: what each depends on, and its work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from langraft.core.artifacts import Manifest, read_manifest
from langraft.core.files import fingerprint, read_json
from langraft.core.settings.recipe import Recipe
from langraft.core.settings.scratch_base import ScratchBase
from langraft.corpus.build import build_corpus, read_heldout
from langraft.corpus.heavy_drops import heavy_drops_text
from langraft.corpus.identify import Identifier, make_identifier
from langraft.corpus.reading.addresses import StoredFile, fingerprint_stored, stat_file
from langraft.evaluate.benchmarks.task_plan import data_fingerprints
from langraft.evaluate.evaluation import mixed_texts
from langraft.evaluate.further_texts import further_texts
from langraft.evaluate.identification import identify_documents
from langraft.export.folder import ExportResult, export_into
from langraft.families.load import resolve_base
from langraft.families.tokenizer_agreement import check_tokenizer_agrees
from langraft.graft.description import tokenizer_folder
from langraft.graft.moe.allocation import layer_similarities
from langraft.graft.store import load_base
from langraft.recipes.run_context import RunContext
from langraft.recipes.steps.base_model import served_inputs, text_inputs
from langraft.recipes.steps.tokenizers import recipe_texts
from langraft.tokenizers.document_tokenizer import DocumentTokenizer

_PROBE_TOKENS = 100_000  # of each language, as in LayerMoE
_COMPARED_CHARACTERS = 100_000  # of each language, cut by two tokenizers


def corpus_inputs(recipe: Recipe, tokenizer: Manifest) -> dict[str, Any]:
    """Return what the corpus step depends on."""
    return {
        **text_inputs(recipe),
        "labels": recipe.corpus.labels,
        "deduplicate": recipe.corpus.model_dump(mode="json", include={"deduplicate"}),
        "languages": recipe.languages.all,
        "heldout": recipe.evaluate.heldout,
        "tokenizer": tokenizer.fingerprint,
    }


def check_tokenizers(recipe: Recipe, tokenizer: Path) -> None:
    """Refuse a tokenizer of which transformers, and so servers, would make another one.

    Args:
        recipe: Its text is compared, some of each language.
        tokenizer: Folder of the run's tokenizer; the base's own is checked as well.

    Raises:
        ModelError: when they differ on the text of a language.
    """
    texts = recipe_texts(recipe, _COMPARED_CHARACTERS)
    if not isinstance(recipe.base, ScratchBase):
        check_tokenizer_agrees(tokenizer_folder(resolve_base(recipe.base)), texts)
    check_tokenizer_agrees(tokenizer, texts)


def make_corpus(run: RunContext, folder: Path) -> dict[str, Any]:
    """Read and tokenize all languages."""
    recipe, console = run.recipe, run.console
    check_tokenizers(recipe, run.tokenizer)
    with console.status("reading and tokenizing") as status:
        counts = build_corpus(
            recipe.corpus,
            languages=recipe.languages.all,
            tokenizer=run.tokenizer,
            heldout_tokens=recipe.evaluate.heldout,
            folder=folder,
            report=lambda what, done, total: status.update(f"{what}: {done} of {total} done"),
        )
    for stream, found in counts.items():
        dropped = sum(found["dropped"].values())
        broken = sum(found["broken"].values())
        console.print(
            f"  {stream}: {found['documents']:,} documents, {found['tokens']:,} tokens, "
            f"{found['heldout_tokens']:,} held out"
            + (f", {dropped:,} dropped" if dropped else "")
            + (f", {broken:,} broken:" if broken else "")
        )
        for place in found["broken_places"]:
            console.print(f"    {place}", markup=False, highlight=False)
    if warning := heavy_drops_text(counts):
        console.print(warning, markup=False, highlight=False)
    return counts


def identification_inputs(recipe: Recipe, corpus: Manifest) -> dict[str, Any]:
    """Return what the identification step depends on."""
    return {
        "identifier": recipe.evaluate.identifier,
        "model": fingerprint_stored(_identifier_files(recipe)),
        "mixed": fingerprint(mixed_texts(recipe)),
        **_further_texts(recipe),
        "languages": recipe.languages.model_dump(mode="json"),
        "corpus": corpus.fingerprint,
    }


def identify(run: RunContext, folder: Path) -> dict[str, Any]:
    """Identify the language of every held-out and mixed document, and count errors."""
    recipe = run.recipe
    found = identify_documents(
        {code: read_heldout(run.corpus / code) for code in recipe.languages.all},
        mixed_texts(recipe),
        further_texts(recipe),
        recipe.languages,
        make_recipe_identifier(recipe),
    )
    found.write(folder)
    return {"errors": found.errors}


def make_recipe_identifier(recipe: Recipe) -> Identifier:
    """Return the language identifier that a recipe names."""
    named = recipe.evaluate.identifier
    return make_identifier(recipe.languages.all, None if named == "lingua" else named)


def _identifier_files(recipe: Recipe) -> list[StoredFile]:
    named = recipe.evaluate.identifier
    return [] if named is None or named == "lingua" else [stat_file(named)]


def _further_texts(recipe: Recipe) -> dict[str, str]:
    return {"texts": fingerprint(further_texts(recipe))} if recipe.evaluate.texts else {}


def evaluation_inputs(
    recipe: Recipe, model: Manifest, corpus: Manifest, instruct: Manifest | None
) -> dict[str, Any]:
    """Return what an evaluation depends on."""
    return {
        **({"instruct": instruct.fingerprint} if instruct is not None else {}),
        "evaluate": recipe.evaluate.model_dump(
            mode="json",
            exclude={
                *("identifier", "mixed", "texts"),
                *("batch_size", "data_dir", "every", "limit_each"),
            },
        ),
        **served_inputs(recipe),
        "mixed": fingerprint(mixed_texts(recipe)),
        **_further_texts(recipe),
        "benchmarks": data_fingerprints(recipe.evaluate, recipe.languages.all),
        "sequence_length": recipe.training.sequence_length,
        "languages": recipe.languages.all,
        "model": model.fingerprint,
        "corpus": corpus.fingerprint,
    }


def probe_layers(run: RunContext) -> dict[str, Any]:
    """Measure how similar original and new languages are in each layer of the base."""
    recipe, base = run.recipe, run.base
    tokenizer = DocumentTokenizer(tokenizer_folder(base))
    length = recipe.training.sequence_length
    rows: dict[str, list[torch.Tensor]] = {}
    for code in (*recipe.languages.original, *recipe.languages.new):
        stream = np.concatenate(tokenizer.encode(read_heldout(run.corpus / code)))
        tokens = torch.from_numpy(stream[:_PROBE_TOKENS])
        rows[code] = [row[None] for row in tokens.split(length)]
    model = load_base(base).to(run.processes.device)
    similarities = layer_similarities(model, rows, recipe.languages)
    return {"similarities": [round(similarity, 6) for similarity in similarities]}


def make_export(recipe: Recipe, graft_folder: Path, folder: Path) -> dict[str, Any]:
    """Export the graft."""
    length = recipe.training.sequence_length
    result = export_into(folder, graft_folder, recipe.export, sequence_length=length)
    return describe_export(result)


def describe_export(result: ExportResult) -> dict[str, Any]:
    """Return what the manifest, and ``langraft export --json``, say of an export."""
    return {
        "architecture": result.architecture,
        "experts": result.num_experts,
        "weight_bytes": result.num_bytes,
        "largest_difference": result.largest_difference,
        "caveat": result.caveat,
    }


def report_inputs(folder: Path) -> dict[str, Any]:
    """Return what the report depends on: every manifest of the run and the comparison."""
    found = sorted(p for p in folder.rglob("manifest.json") if p.parent.name != "report")
    return {
        "steps": [[str(p.relative_to(folder)), read_manifest(p.parent).fingerprint] for p in found],
        "comparison": read_json(folder / "comparison.json", dict[str, Any]),
    }
