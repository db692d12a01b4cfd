"""One conversation with a grafted or exported model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from langraft.core.artifacts import read_json
from langraft.core.errors import ModelError
from langraft.families.load import load_model, load_tokenizer
from langraft.graft.store import GRAFT_JSON, base_of, load, tokenizer_folder
from langraft.graft.surgery import graft_info


class Chat:
    """Loads a folder once and answers."""

    def __init__(
        self,
        folder: Path,
        *,
        max_tokens: int,
        temperature: float,
        guard: str,
        identifier: Path | None,
        has_own_code: bool,
    ) -> None:
        """Find a graft or a model in a folder.

        Raises:
            ModelError: when the folder holds neither, or what it holds cannot be guarded.
        """
        self._is_guarded: Callable[[str], bool] | None = None
        graft = folder / "graft" if (folder / "graft" / GRAFT_JSON).is_file() else folder
        if (graft / GRAFT_JSON).is_file():
            languages = guard if guard in ("auto", "off") else guard.split(",")
            self._model: Any = load(graft, guard=languages, identifier=identifier)
            self._tokenizer: Any = load_tokenizer(tokenizer_folder(graft))
            self._is_guarded = graft_info(self._model).is_guarded_text
            if self._is_guarded is not None:  # guarded prompts must do without new tokens
                self._base_tokenizer = load_tokenizer(base_of(graft))
        elif (folder / "config.json").is_file():
            if guard != "off":
                raise ModelError(
                    f"--guard {guard}: {folder} is an exported model, which no longer knows its "
                    "base. Give the graft or the run folder."
                )
            if not has_own_code and "auto_map" in read_json(folder / "config.json"):
                raise ModelError(
                    f"{folder} holds a modelling file of its own, which would be run. If you trust "
                    "whoever wrote it, add --trust-remote-code."
                )
            self._model = load_model(folder, has_own_code=has_own_code).eval()
            self._tokenizer = load_tokenizer(folder, has_own_code=has_own_code)
        else:
            raise ModelError(
                f"{folder} is neither a graft (graft.json), a run folder with graft/, nor a model "
                "(config.json). Give the folder that a run or `langraft export` left."
            )
        self._max_tokens = max_tokens
        self._temperature = temperature
        self._turns: list[dict[str, str]] = []
        self.is_chat = bool(getattr(self._tokenizer, "chat_template", None))
        self.greeting = (
            "Type a message; an empty input (Ctrl-D) ends."
            if self.is_chat
            else "This model has no chat template: type the beginning of a text, it goes on."
        )

    def _encode(self, tokenizer: Any, text: str) -> torch.Tensor:
        """Return the prompt: the conversation so far, or the text alone."""
        if not self.is_chat:
            return tokenizer(text, return_tensors="pt").input_ids
        return tokenizer.apply_chat_template(
            self._turns, add_generation_prompt=True, return_tensors="pt", return_dict=True
        ).input_ids

    @torch.no_grad()
    def answer(self, text: str) -> str:
        """Return the model's answer, or its continuation of the text."""
        if self.is_chat:
            self._turns.append({"role": "user", "content": text})
        ids = self._encode(self._tokenizer, text)
        if self._is_guarded is not None:
            of_base = self._encode(self._base_tokenizer, text)
            # As the guard will read it: without the marks of a chat template.
            read = str(self._base_tokenizer.decode(of_base[0], skip_special_tokens=True))
            ids = of_base if self._is_guarded(read) else ids
        sampling = (
            {"do_sample": True, "temperature": self._temperature}
            if self._temperature
            else {"do_sample": False}
        )
        generated = self._model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=self._max_tokens,
            pad_token_id=self._tokenizer.eos_token_id,
            **sampling,
        )[0, ids.shape[1] :]
        answer: str = self._tokenizer.decode(generated, skip_special_tokens=True)
        if self.is_chat:
            self._turns.append({"role": "assistant", "content": answer})
        return answer
