"""The step that lets the base write: replay of original languages without any data.

Shape suffixes: B = texts of a batch, S = tokens of the longest prompt.
"""

from __future__ import annotations

import itertools
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig

from langraft.core.errors import CorpusError, RecipeError
from langraft.core.files import read_json, write_json, write_text
from langraft.core.settings.recipe import Recipe
from langraft.core.settings.scratch_base import ScratchBase
from langraft.corpus.counts import BrokenCount
from langraft.corpus.sources.base_samples import BaseSamples
from langraft.corpus.sources.files import Files
from langraft.families.load import FILES_OF_TOKENIZER, resolve_base
from langraft.families.positions import boundaries_in, num_learned_positions
from langraft.graft.description import fingerprint_base, fingerprint_files, tokenizer_folder
from langraft.graft.store import load_base
from langraft.recipes.run_context import RunContext
from langraft.tokenizers.document_tokenizer import DocumentTokenizer

BATCHES = "batches"  # folder of what is written so far; deleted when the step is finished
_MOST_IDLE_BATCHES = 20  # without a new text
_MOST_PROMPTS = 10_000  # of a language; then they begin again
_CHARACTERS_A_TOKEN = 32  # at most, of a prompt's text that is tokenized


def sampled_sources(recipe: Recipe) -> dict[str, BaseSamples]:
    """Return the sources whose text the base has yet to write, by label.

    Raises:
        RecipeError: when the base itself is trained on the corpus.
    """
    found = {
        label: source
        for source, label in zip(recipe.corpus.sources, recipe.corpus.labels, strict=True)
        if isinstance(source, BaseSamples) and source.path is None
    }
    if found and isinstance(recipe.base, ScratchBase):
        raise RecipeError(
            "corpus: base_samples needs a base that is there already; this recipe trains its own. "
            "Train the base first and name its folder as `base`."
        )
    return found


def check_lengths(recipe: Recipe, model: Any) -> None:
    """Refuse samples that are longer than the base can read.

    Args:
        recipe: Its sources say how long the samples may get.
        model: The base; may be without weights.

    Raises:
        RecipeError: when they are.
    """
    limits = [num_learned_positions(model), *boundaries_in(model.config.to_dict())]
    most = min((limit for limit in limits if limit is not None), default=None)
    for label, source in sampled_sources(recipe).items():
        prompt_tokens = 1 + (source.prompt_tokens if source.prompts is not None else 0)
        if most is not None and prompt_tokens + source.sample_tokens > most:
            raise RecipeError(
                f"corpus, {label}: prompts and samples have up to "
                f"{prompt_tokens + source.sample_tokens} tokens; the base reads {most}. Lower "
                "`sample_tokens`."
            )


def with_samples(recipe: Recipe, folder: Path) -> Recipe:
    """Return a recipe whose sources read what was written in ``folder``, by label."""
    labels = sampled_sources(recipe)
    sources = [
        source.model_copy(update={"path": str(folder / label)}) if label in labels else source
        for source, label in zip(recipe.corpus.sources, recipe.corpus.labels, strict=True)
    ]
    corpus = recipe.corpus.model_copy(update={"sources": tuple(sources)})
    return recipe.model_copy(update={"corpus": corpus})


def sample_inputs(recipe: Recipe, source: BaseSamples) -> dict[str, Any]:
    """Return what the samples of a source depend on."""
    assert isinstance(recipe.base, str), "sampled_sources refuses others"
    prompts = _prompts(source)
    base = resolve_base(recipe.base)
    return {
        "base": fingerprint_base(base),
        "tokenizer": fingerprint_files(tokenizer_folder(base), FILES_OF_TOKENIZER),
        "source": source.model_dump(mode="json", exclude={"label", "max_broken"}),
        "prompts": None if prompts is None else prompts.fingerprint(),
        "dtype": recipe.training.dtype,
        "seed": recipe.seed,
    }


def write_samples(run: RunContext, source: BaseSamples, folder: Path) -> dict[str, Any]:
    """Let the base write until each language has its tokens; goes on where it was stopped."""
    assert isinstance(run.recipe.base, str), "sampled_sources refuses others"
    base = resolve_base(run.recipe.base)
    model = load_base(base, getattr(torch, run.recipe.training.dtype))
    model.to(run.processes.device).eval()
    writer = _Writer(model, DocumentTokenizer(tokenizer_folder(base)), source, run.recipe.seed)
    (folder / BATCHES).mkdir(exist_ok=True)
    counts: dict[str, Any] = {}
    for code in source.languages:
        with run.console.status(f"{code}: the base writes") as status:
            kept = _Kept()
            for number in itertools.count():
                status.update(f"{code}: the base has written {kept.num_tokens:,} tokens")
                path = folder / BATCHES / f"{code}-{number:06d}.json"
                if not path.is_file():
                    write_json(path, writer.batch(code, number))
                kept.add(read_json(path, list[_Sample]))
                if kept.num_tokens >= (source.tokens or 0):
                    break
                kept.check_progress(code)
        lines = [json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in kept.texts]
        write_text(folder / f"{code}.jsonl", "".join(lines))
        counts[code] = kept.counts()
        run.console.print(
            f"  {code}: {len(kept.texts):,} texts, {kept.num_tokens:,} tokens"
            + (f", {kept.num_repeated:,} repeated" if kept.num_repeated else "")
            + (f", {kept.num_empty:,} empty" if kept.num_empty else "")
        )
    return counts


@dataclass(frozen=True, slots=True)
class _Sample:
    """A text that the base wrote, and how many tokens that took."""

    text: str
    tokens: int


class _Kept:
    """The texts of a language without empty and repeated ones, which are counted."""

    def __init__(self) -> None:
        self.texts: dict[str, None] = {}
        self.num_tokens = self.num_repeated = self.num_empty = self._num_idle = 0

    def add(self, samples: Sequence[_Sample]) -> None:
        before = len(self.texts)
        for sample in samples:
            if not sample.text.strip():
                self.num_empty += 1
            elif sample.text in self.texts:
                self.num_repeated += 1
            else:
                self.texts[sample.text] = None
                self.num_tokens += sample.tokens
        self._num_idle = 0 if len(self.texts) > before else self._num_idle + 1

    def check_progress(self, code: str) -> None:
        """Refuse to wait for ever.

        Raises:
            CorpusError: when the base has written nothing new for many batches.
        """
        if self._num_idle >= _MOST_IDLE_BATCHES:
            raise CorpusError(
                f"corpus source `base_samples`, {code}: the base wrote {len(self.texts):,} texts "
                f"({self.num_tokens:,} tokens) and then only repeated itself or wrote nothing. "
                "Give `prompts`, another `begin` or a higher `temperature`, or ask for fewer "
                "`tokens`."
            )

    def counts(self) -> dict[str, int]:
        return {
            "documents": len(self.texts),
            "tokens": self.num_tokens,
            "repeated": self.num_repeated,
            "empty": self.num_empty,
        }


class _Writer:
    """Writes any batch of texts from (seed, language, number) alone."""

    def __init__(
        self, model: Any, tokenizer: DocumentTokenizer, source: BaseSamples, seed: int
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._source = source
        self._seed = seed
        self._begin = self._begin_ids()
        self._prompts: dict[str, list[list[int]]] = {}
        # In place of the base's own, whose penalties and cuts would bend its distribution.
        model.generation_config = GenerationConfig(
            do_sample=True,
            temperature=source.temperature,
            top_k=0,
            top_p=1.0,
            max_new_tokens=source.sample_tokens,
            eos_token_id=tokenizer.end_of_text_id,
            pad_token_id=tokenizer.end_of_text_id,
        )

    @torch.no_grad()
    def batch(self, code: str, number: int) -> list[dict[str, Any]]:
        """Return the texts of a batch with their tokens."""
        ids_BS, mask_BS = self._beginnings(code, number)
        device = ids_BS.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(zlib.crc32(f"{self._seed}/{code}/{number}".encode()))
            written = self._model.generate(input_ids=ids_BS, attention_mask=mask_BS)
        samples: list[dict[str, Any]] = []
        for row, mask in zip(written.cpu(), mask_BS.cpu(), strict=True):
            prompt = row[: len(mask)][mask.bool()]
            new = row[len(mask) :]
            ends = (new == self._tokenizer.end_of_text_id).nonzero()
            new = new[: int(ends[0])] if len(ends) else new
            # The last token may be a part of a character.
            text = self._tokenizer.decode(torch.cat([prompt, new]).numpy()).rstrip("\ufffd")
            samples.append({"text": text, "tokens": len(prompt) + len(new)})
        return samples

    def _beginnings(self, code: str, number: int) -> tuple[Tensor, Tensor]:
        """Return token ids and mask of the prompts of a batch, padded on the left, (B, S)."""
        size = self._source.batch_size
        prompts = [[]] if self._source.prompts is None else self._prompts_in(code)
        rows = [
            [*self._begin, *prompts[(number * size + place) % len(prompts)]]
            for place in range(size)
        ]
        longest = max(map(len, rows))
        device = next(self._model.parameters()).device
        padding = self._tokenizer.end_of_text_id
        ids = [[padding] * (longest - len(row)) + row for row in rows]
        mask = [[0] * (longest - len(row)) + [1] * len(row) for row in rows]
        return torch.tensor(ids, device=device), torch.tensor(mask, device=device)

    def _prompts_in(self, code: str) -> list[list[int]]:
        if code not in self._prompts:
            source = _prompts(self._source)
            assert source is not None
            most, broken = self._source.prompt_tokens, BrokenCount(self._source.max_broken)
            good = itertools.islice(broken.good(source.read(code)), _MOST_PROMPTS)
            texts = [found.text[: most * _CHARACTERS_A_TOKEN] for found in good]
            broken.check()
            if not texts:
                raise CorpusError(
                    f"{self._source.prompts} has no text in {code!r}. Give a prompt a line."
                )
            self._prompts[code] = [found.ids[:most] for found in self._tokenizer.tokenize(texts)]
        return self._prompts[code]

    def _begin_ids(self) -> tuple[int, ...]:
        """Return the tokens that every text begins with.

        Raises:
            CorpusError: when the recipe names a token that the tokenizer does not have.
        """
        if self._source.begin is None:
            return self._tokenizer.begin_ids or (self._tokenizer.end_of_text_id,)
        found = self._tokenizer.token_id(self._source.begin)
        if found is None:
            raise CorpusError(
                f"corpus source `base_samples`: begin is {self._source.begin!r}, which is no token "
                "of the base. Name one, such as the tokenizer's bos_token, or leave it out."
            )
        return (found,)


def _prompts(source: BaseSamples) -> Files | None:
    if source.prompts is None:
        return None
    return Files(path=source.prompts, languages=source.languages)
