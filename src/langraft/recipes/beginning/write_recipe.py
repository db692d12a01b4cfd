"""The recipe that a beginning is given: the recommended one, sized to the base and the text."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from langraft.core.in_words.quantities import short_count
from langraft.core.language import language_name
from langraft.corpus.counts import BrokenCount
from langraft.corpus.sources.files import Files
from langraft.curriculum.index import MANY_EPOCHS
from langraft.recipes.beginning.look_at_base import BaseFacts
from langraft.recipes.beginning.look_at_text import TextFacts, recommended_filters

_REPLAY = 0.04  # share of a stage's tokens that is text of original languages
_HELDOUT = 1 / 16  # about the share of a corpus that is kept out of training
_RATE, _RATE_WIDTH = 1.5e-4, 576  # found on SmolLM2-135M (docs/results.md), scaled as 1 / width
_MANY_STEPS = 2000
_ROW_TOKENS = (128, 1024)  # shortest and longest
_ROWS = 200  # that a small budget is cut into, so that 4% of it are a few rows
_BATCH_TOKENS = (1024, 524_288)  # of a step, least and most
_MICRO_TOKENS = {True: 8192, False: 2048}  # computed at once, with an accelerator and without
_STEPS = 1000  # that a small budget is cut into
_WRITTEN_TOKENS = 20_000  # that the base writes at least where there is no text to replay
_SAMPLE_TOKENS = 512  # of a text that the base writes, unless its context is shorter
_SPARE = 1.1  # times the share of broken records that was found
_EVEN = 0.5  # a new language's share: its tokens to this power


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """What a recipe is written from.

    Attributes:
        name: Of the run.
        base: The base.
        original: Languages to keep.
        new: Languages to learn.
        texts: Text found, by language; an original language may have none.
        unchecked: Languages that no identifier knows.
        tokens: Budget; None: the text that there is, once.
        has_accelerator: Whether this machine trains on one.
    """

    name: str
    base: BaseFacts
    original: tuple[str, ...]
    new: tuple[str, ...]
    texts: Mapping[str, TextFacts]
    unchecked: tuple[str, ...]
    tokens: int | None
    has_accelerator: bool

    @property
    def without_text(self) -> list[str]:
        """Original languages of which there is no text."""
        return [code for code in self.original if code not in self.texts]

    @property
    def mixed_files(self) -> list[str]:
        """Files in several languages."""
        files = [file for text in self.texts.values() for file in text.files]
        return list(dict.fromkeys(f.stored.address for f in files if len(f.shares) > 1))

    @property
    def short(self) -> list[str]:
        """Languages whose documents are mostly short."""
        return [code for code, text in self.texts.items() if text.is_short]

    @property
    def budget(self) -> int:
        """Tokens of the stage."""
        if self.tokens is not None:
            return self.tokens
        once = sum(self.texts[code].num_kept_tokens for code in self.new)
        return max(1, _rounded(once * (1 - _HELDOUT) / (1 - _REPLAY)))

    @property
    def sequence_length(self) -> int:
        """Tokens of a row: at most the base's context, fewer where the budget is small."""
        shortest, longest = _ROW_TOKENS
        length = _power_of_2(max(self.budget / _ROWS, shortest))
        return min(length, longest, self.base.context or longest)

    @property
    def batch_rows(self) -> int:
        """Rows of a step: a thousand steps of a small budget, at most half a million tokens."""
        least, most = _BATCH_TOKENS
        tokens = min(max(self.budget / _STEPS, least), most)
        return _power_of_2(tokens / self.sequence_length)


def recipe_text(beginning: Beginning, path: Path) -> str:
    """Return the recipe that is written to a path, commented."""
    environment = Environment(
        loader=PackageLoader("langraft.recipes.beginning", "."),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "yaml": _flow,
        "language": language_name,
        "about": about,
        "count": short_count,
    }
    micro_tokens = _MICRO_TOKENS[beginning.has_accelerator]
    num_steps = beginning.budget / (beginning.batch_rows * beginning.sequence_length)
    return environment.get_template("recipe.yaml.j2").render(
        given=beginning,
        recipe=shlex.quote(str(path)),
        sources=_sources(beginning),
        filters=_filters(beginning),
        mixture=_mixture(beginning),
        max_epochs=f"{MANY_EPOCHS:g}",
        lr=float(f"{_RATE * _RATE_WIDTH / beginning.base.width:.1e}"),
        router_scale=20 if num_steps > _MANY_STEPS else 100,
        micro_rows=min(beginning.batch_rows, _power_of_2(micro_tokens / beginning.sequence_length)),
        checkpoint_every=max(10, min(200, round(num_steps / 10))),
    )


def _sources(beginning: Beginning) -> list[dict[str, Any]]:
    sources: list[dict[str, Any]] = []
    for code in (*beginning.original, *beginning.new):
        if code in beginning.texts:
            sources += _files(code, beginning.texts[code])
        else:
            written = max(_WRITTEN_TOKENS, _rounded(beginning.budget * _REPLAY))
            sources.append({"source": "almanac", "languages": [code]})
            samples = {"source": "base_samples", "languages": [code], "tokens": written}
            after_begin = beginning.sequence_length - 1
            if after_begin < _SAMPLE_TOKENS:
                samples["sample_tokens"] = after_begin
            sources.append(samples)
    return sources


def _files(code: str, facts: TextFacts) -> list[dict[str, Any]]:
    """Return the entries that read a language's files: a folder's files of one form together."""
    groups: dict[tuple[str, str, str, str, str], list[str]] = {}
    for file in facts.files:
        folder, _, name = file.stored.address.rpartition("/")
        suffix = "".join(Path(name).suffixes[-2:]) or name
        form = (folder, suffix, file.text_key, file.encoding, file.unit)
        groups.setdefault(form, []).append(file.stored.address)
    entries: list[dict[str, Any]] = []
    for (folder, suffix, text_key, encoding, unit), paths in groups.items():
        together = {path: [path] for path in paths}
        if len(paths) > 1 and _is_whole(folder, suffix, paths):
            together = {f"{folder}/*{suffix}": paths}
        for path, members in together.items():
            entry: dict[str, Any] = {"source": "files", "path": path, "languages": [code]}
            entry |= {"text_key": text_key} if text_key != "text" else {}
            entry |= {"encoding": encoding} if encoding != "utf-8" else {}
            entry |= {"documents": unit} if unit != "line" else {}
            entries.append(entry | _max_broken(facts, members))
    return entries


def _max_broken(facts: TextFacts, addresses: Iterable[str]) -> dict[str, float]:
    """Return the key that lets a run go on without the broken records of some files, if needed."""
    count = BrokenCount(max_share=Files.model_fields["max_broken"].default)
    for address in addresses:
        count.add(facts.broken[address])
    share = count.num_counted / max(1, count.num_records)
    if share <= count.max_share:
        return {}
    return {"max_broken": math.ceil(share * _SPARE * 1000) / 1000}


def _is_whole(folder: str, suffix: str, paths: Iterable[str]) -> bool:
    """Say whether the files of a local folder with this suffix are just these."""
    there = {str(path) for path in Path(folder or ".").glob(f"*{suffix}")}
    return there == {str(Path(path)) for path in paths} and "[" not in folder


def _filters(beginning: Beginning) -> list[Any]:
    """Return the recommended filters, by name alone where nothing is set."""
    dumped = [
        {"name": found.name} | found.model_dump(mode="json", exclude_defaults=True)
        for found in recommended_filters(beginning.unchecked, bool(beginning.short))
    ]
    return [keys["name"] if len(keys) == 1 else keys for keys in dumped]


def _mixture(beginning: Beginning) -> dict[str, float]:
    """Return relative shares: new ones by the square root of their text, originals 4% together."""
    roots = {code: max(1, beginning.texts[code].num_kept_tokens) ** _EVEN for code in beginning.new}
    scale = 100 * (1 - _REPLAY) / sum(roots.values())
    mixture = {code: round(root * scale, 1) for code, root in roots.items()}
    for code in beginning.original:
        stream = code if code in beginning.texts else f"{code}/base_samples"
        mixture[stream] = round(100 * _REPLAY / len(beginning.original), 2)
    return mixture


def _power_of_2(number: float) -> int:
    """Return the nearest power of 2, at least 1."""
    return 2 ** max(0, round(math.log2(number)))


def _rounded(number: float) -> int:
    """Round to two digits."""
    return int(float(f"{number:.1e}"))


def about(number: float) -> str:
    """Return an estimate in two digits: 2.1M."""
    return short_count(_rounded(number))


def _flow(value: Any) -> str:
    """Return a value as YAML on one line."""
    text = yaml.safe_dump(
        value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=math.inf
    )
    return text.removesuffix("\n...\n").strip()
