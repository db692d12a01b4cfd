"""Text that the base wrote itself: replay where nobody has what the base was trained on.

The corpus only reads it; a run's first step writes it (``recipes/steps/base_samples.py``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from langraft.core.document import BrokenRecord, Document
from langraft.core.errors import CorpusError
from langraft.corpus.reading.addresses import fingerprint_stored, stat_file
from langraft.corpus.reading.texts import read_texts
from langraft.corpus.source import AbstractSource, Part


class BaseSamples(AbstractSource):
    """Texts that the base writes at random, from its beginning token or from given prompts.

    They are only trained on, never held out, so each language needs text of another source too.

    Replay for the side loss ``retain`` after arXiv:2605.26097, which samples at temperature 1 from
    the beginning token.
    """

    has_split: ClassVar[bool] = True

    source: Literal["base_samples"] = Field(
        default="base_samples", description="Text that the base writes itself."
    )
    path: str | None = Field(
        default=None,
        description="Folder of samples that another run wrote (RUN/samples/LABEL); left out: this "
        "run's base writes them before anything else.",
    )
    begin: str | None = Field(
        default=None,
        description="Token that a text begins with, such as <|endoftext|>; left out: what the "
        "tokenizer puts before a text, or else its end-of-text token.",
    )
    prompts: str | None = Field(
        default=None,
        description="Text whose beginnings the base continues, as `path` of the source `files`; "
        "needed for more than one language.",
    )
    prompt_tokens: int = Field(
        default=16, ge=1, le=4096, description="Tokens of a prompt, counted from its beginning."
    )
    sample_tokens: int = Field(
        default=512, ge=8, le=2**16, description="Most tokens that one text gets."
    )
    temperature: float = Field(
        default=1.0, gt=0, le=10, description="1 samples the base's own distribution."
    )
    batch_size: int = Field(default=16, ge=1, le=4096, description="Texts written at once.")

    @model_validator(mode="after")
    def _check_amount_and_languages(self) -> BaseSamples:
        if self.path is None and self.tokens is None:
            raise ValueError("tokens: say how many the base shall write a language, such as 200k")
        if len(self.languages) > 1 and self.path is None and self.prompts is None:
            raise ValueError(
                "prompts: without any the base writes in whatever language it likes; give text "
                "that it continues, with {language} in its path, or name one language"
            )
        return self

    def parts(self, stream: str) -> Sequence[Part]:
        """Return a single part: the samples of one language.

        Raises:
            CorpusError: when they are not written.
        """
        folder = self._folder()
        path = folder / f"{stream}.jsonl"
        if not path.is_file():
            raise CorpusError(
                f"corpus source `base_samples`: {path} does not exist. Give the samples of a "
                "finished run in the languages of this entry, or leave `path` out."
            )
        return [Part(name="samples", paths=(str(path),), num_bytes=path.stat().st_size)]

    def check(self, stream: str) -> None:
        """Refuse samples of another run that are not there; this run's are still to be written."""
        if self.path is not None:
            self.parts(stream)

    def read_part(self, stream: str, part: Part) -> Iterator[Document | BrokenRecord]:
        """Yield the samples in the order in which they were written."""
        for line, found in read_texts(part.paths[0], ".jsonl", "text"):
            if isinstance(found, BrokenRecord):
                yield found
            else:
                # Never held out: what the base wrote is no measure of what it has kept.
                yield Document(
                    text=found, language=stream, id=f"{stream}.jsonl:{line}", split="train"
                )

    def fingerprint(self) -> str:
        """Return a hash of the written files; of samples still to be written nothing is known."""
        if self.path is None:
            return "written by the run"
        paths = [
            path for code in self.languages for part in self.parts(code) for path in part.paths
        ]
        return fingerprint_stored([stat_file(path) for path in paths])

    def _folder(self) -> Path:
        if self.path is None:
            raise CorpusError(
                "corpus source `base_samples`: the base writes these texts when the recipe runs "
                "(langraft run, langraft corpus). Run it first, or name a finished run's "
                "samples under `path`."
            )
        return Path(self.path)
