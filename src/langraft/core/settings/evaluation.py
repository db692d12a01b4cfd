"""What a recipe measures before and after training."""

from __future__ import annotations

from pydantic import Field, model_validator

from langraft.core.language import LanguageCode
from langraft.core.settings.settings import Count, Settings, TokenCount
from langraft.core.settings.stage import StageName


class FurtherText(Settings):
    """Text that no stage trains on, scored beside what is held out of the corpus."""

    name: StageName = Field(description="Names it in results, such as reference.")
    path: str = Field(
        description="As of the corpus source `files`: file, folder or glob; {language} stands for "
        "the language."
    )
    languages: tuple[LanguageCode, ...] = Field(
        min_length=1, description="Languages to read from it."
    )
    text_key: str = Field(
        default="text", description="Key (jsonl) or column (parquet) of the text."
    )
    bytes: Count = Field(
        default=500_000,
        ge=1,
        le=10**9,
        description="UTF-8 bytes a language to score: its first documents, the last one whole.",
    )


class EvaluationSettings(Settings):
    """What is measured before and after training."""

    heldout: Count = Field(
        default=200_000,
        ge=1,
        le=10**8,
        description="Tokens of text a language, kept out of training.",
    )
    texts: tuple[FurtherText, ...] = Field(
        default=(),
        description="Further text to score. What is held out of the corpus is like the text that "
        "was trained on, so a model may keep that and lose the rest of a language: name text of "
        "original languages here that no replay resembles.",
    )
    every: TokenCount | None = Field(
        default=None,
        gt=0,
        description="Tokens of a stage after which held-out text is scored again, for curves over "
        "the run; left out: before and after each stage only.",
    )
    suites: tuple[str, ...] = Field(
        default=(), description="Benchmark suites: files of langraft/evaluate/benchmarks/suites."
    )
    tasks: tuple[str, ...] = Field(
        default=(),
        description="Further tasks of lm-evaluation-harness, by its names (extra: eval).",
    )
    data_dir: str | None = Field(
        default=None,
        description="Folder of benchmark files, so that suites need no network; left out: the hub.",
    )
    limit: int | None = Field(
        default=None, ge=1, le=10**9, description="First items of each task; left out: all."
    )
    limit_each: int | None = Field(
        default=None,
        ge=1,
        le=10**9,
        description="First items of each phenomenon where a task has several, as blimp has 67; "
        "left out: limit.",
    )
    batch_size: int = Field(
        default=16, ge=1, le=2**16, description="Sequences scored at once by a task."
    )
    identifier: str | None = Field(
        default=None,
        description="lingua, or the file of a fastText model such as GlotLID's: also score the "
        "graft under the language guard, and `full` behind a switch.",
    )
    mixed: str | None = Field(
        default=None,
        description="JSONL or parquet of aligned sentences, a key for each language; {language} "
        "stands for the new one: also score documents that mix it with the first original one.",
    )
    samples: int = Field(
        default=1, ge=0, le=1000, description="Texts a language continued before and after."
    )

    @model_validator(mode="after")
    def _refuse_names_twice(self) -> EvaluationSettings:
        names = [text.name for text in self.texts]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"texts: the name {twice[0]!r} is used twice; names tell them apart")
        return self
