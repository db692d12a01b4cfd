"""A model on this machine: a model's folder, a graft or a run folder."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from langraft.chat.template import ChatTemplate, stop_token_ids
from langraft.core.base_files import read_end_ids
from langraft.core.errors import TeacherError
from langraft.core.files import file_sha256
from langraft.self_instruct.teacher import AbstractTeacher, Answer, Listener, Question
from langraft.tokenizers.special_tokens import for_prompts

if TYPE_CHECKING:
    import torch

_TOKENIZER_FILES = ("chat_template.jinja", "tokenizer.json", "tokenizer_config.json")


class Local(AbstractTeacher):
    """A model that generates here, in batches.

    With the same folder, settings and kind of device, answers depend on the questions of a batch
    and their seeds alone. Batches are cut by the numbers of questions, so a run that was
    interrupted gets the answers that it would have got.
    """

    name: Literal["local"] = Field(default="local", description="A model on this machine.")
    folder: str = Field(
        description="A model's folder or GGUF file, a graft, or a run folder with graft/."
    )
    batch: int = Field(default=8, ge=1, le=2**16, description="Prompts answered together.")
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Where it runs; auto: on CUDA where there is such a device."
    )
    dtype: Literal["float32", "bfloat16"] = Field(
        default="float32", description="Precision of the weights in memory."
    )

    @property
    def label(self) -> str:
        """Return the name of the folder."""
        return Path(self.folder).resolve().name

    def identity(self) -> Mapping[str, Any]:
        """Return the fingerprints of weights and tokenizer with batch, precision and sampling.

        Of the model's ``generation_config.json`` only the ends of an answer count, as only they
        are used.
        """
        from langraft.graft.description import base_model_folder, fingerprint_base, tokenizer_folder

        folder = _model_folder(Path(self.folder))
        tokenizer = tokenizer_folder(folder)
        files = [path for path in sorted(tokenizer.iterdir()) if path.name in _TOKENIZER_FILES]
        return self.model_dump(exclude={"folder", "device"}) | {
            "weights": fingerprint_base(folder),
            "ends": read_end_ids(base_model_folder(folder)),
            "tokenizer": {path.name: file_sha256(path) for path in files},
        }

    def cost(self, prompt_tokens: int, answer_tokens: int) -> float:
        """Return 0: electricity is not counted."""
        del prompt_tokens, answer_tokens
        return 0.0

    @asynccontextmanager
    async def session(self) -> AsyncGenerator[_LocalSession]:
        """Load the model.

        Raises:
            TeacherError: when the folder holds none, or CUDA is asked for and not there.
            ModelError: when it cannot be loaded.
            ArtifactError: when a graft is damaged.
            RecipeError: when the chat template cannot write a question and its answer.
        """
        model, tokenizer = await asyncio.to_thread(self._load)
        yield _LocalSession(self, model, tokenizer)

    def _load(self) -> tuple[Any, Any]:
        import torch
        import transformers

        from langraft.families.load import load_model, load_tokenizer
        from langraft.graft.description import is_graft, tokenizer_folder
        from langraft.graft.store import load

        transformers.logging.disable_progress_bar()  # ours is shown instead
        has_cuda = torch.cuda.is_available()
        if self.device == "cuda" and not has_cuda:
            raise TeacherError("teacher.device is cuda and there is none here. Give cpu or auto.")
        dtype = torch.float32 if self.dtype == "float32" else torch.bfloat16
        folder = _model_folder(Path(self.folder))
        model: Any
        if is_graft(folder):
            model, tokenizer = load(folder, dtype=dtype), load_tokenizer(tokenizer_folder(folder))
        else:
            model, tokenizer = load_model(folder, dtype), load_tokenizer(folder)
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        is_on_cuda = has_cuda and self.device != "cpu"
        return model.eval().to("cuda" if is_on_cuda else "cpu"), for_prompts(tokenizer)


def _model_folder(given: Path) -> Path:
    """Return the graft of a run folder, or the folder itself.

    Raises:
        TeacherError: when neither is there.
    """
    from langraft.families.from_gguf.cache import folder_of_gguf, is_gguf
    from langraft.graft.description import graft_folder_of, is_graft

    folder = folder_of_gguf(given) if is_gguf(given) else graft_folder_of(given)
    if not is_graft(folder) and not (folder / "config.json").is_file():
        raise TeacherError(
            f"{given} is neither a model (config.json), a graft (graft.json) nor a run folder with "
            "graft/. Give the folder of a model in teacher.folder."
        )
    return folder


class _LocalSession:
    def __init__(self, settings: Local, model: Any, tokenizer: Any) -> None:
        from transformers import GenerationConfig

        self._settings = settings
        self._model = model
        self._tokenizer = tokenizer
        template = ChatTemplate.load(tokenizer) if _has_chat_template(tokenizer) else None
        self._stop_ids = stop_token_ids(model.generation_config.eos_token_id, template)
        model.generation_config = GenerationConfig()  # that of its folder would mix with ours
        self._batch_lock = asyncio.Lock()  # one batch at a time, whichever language asks
        self._is_cancelled = threading.Event()

    async def ask(
        self, questions: Sequence[Question], done: Collection[int], listener: Listener
    ) -> None:
        """Answer batch after batch; a batch of which some are done is answered whole again."""
        for start in range(0, len(questions), self._settings.batch):
            batch = questions[start : start + self._settings.batch]
            if all(question.number in done for question in batch):
                continue
            async with self._batch_lock:
                try:
                    answers = await asyncio.to_thread(self._generate, batch)
                except asyncio.CancelledError:
                    self._is_cancelled.set()  # the thread ends at its next token
                    raise
            for question, answer in zip(batch, answers, strict=True):
                if question.number not in done:
                    listener.answered(question, answer)

    def _generate(self, batch: Sequence[Question]) -> list[Answer]:
        import torch
        from transformers import StoppingCriteriaList

        settings = self._settings
        inputs = self._encode([question.text for question in batch])
        num_prompt_tokens = int(inputs.input_ids.shape[1])
        sampling: dict[str, Any] = {"do_sample": False}
        if settings.temperature:
            sampling = {
                "do_sample": True,
                "temperature": settings.temperature,
                "top_p": settings.top_p,
                "top_k": 0,  # all; the library's default is 50
            }

        def is_cancelled(ids: torch.Tensor, scores: object) -> torch.Tensor:
            del scores
            return torch.full((len(ids),), self._is_cancelled.is_set(), device=ids.device)

        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(batch[0].seed)
            ids = self._model.generate(
                **inputs,
                max_new_tokens=self._max_new_tokens(num_prompt_tokens),
                pad_token_id=self._tokenizer.pad_token_id,
                eos_token_id=self._stop_ids or None,
                stopping_criteria=StoppingCriteriaList([is_cancelled]),
                **sampling,
            )
        prompts = inputs.attention_mask.sum(dim=1).tolist()
        return [
            self._make_answer(row, num_prompt)
            for row, num_prompt in zip(ids[:, num_prompt_tokens:].tolist(), prompts, strict=True)
        ]

    def _encode(self, texts: list[str]) -> Any:
        """Return prompts padded on the left: in the chat template where the tokenizer has one."""
        is_chat = _has_chat_template(self._tokenizer)
        if is_chat:
            texts = [
                self._tokenizer.apply_chat_template(
                    [{"role": "user", "content": text}], add_generation_prompt=True, tokenize=False
                )
                for text in texts
            ]
        encoded = self._tokenizer(
            texts,
            return_tensors="pt",
            padding=True,
            padding_side="left",
            add_special_tokens=not is_chat,
            return_token_type_ids=False,
        )
        return encoded.to(self._model.device)

    def _max_new_tokens(self, num_prompt_tokens: int) -> int:
        """Return how many tokens an answer may have.

        Raises:
            TeacherError: when the prompt fills the model's context.
        """
        context = getattr(self._model.config, "max_position_embeddings", None)
        num_left = context - num_prompt_tokens if context else self._settings.max_tokens
        if num_left < 1:
            raise TeacherError(
                f"A prompt has {num_prompt_tokens} tokens and {self._settings.folder} reads at "
                f"most {context}. Show fewer demonstrations, or take a model with more context."
            )
        return min(num_left, self._settings.max_tokens)

    def _make_answer(self, ids: list[int], num_prompt_tokens: int) -> Answer:
        length = next((place for place, token in enumerate(ids) if token in self._stop_ids), None)
        return Answer(
            text=self._tokenizer.decode(ids[:length], skip_special_tokens=True),
            is_truncated=length is None,
            prompt_tokens=num_prompt_tokens,
            answer_tokens=len(ids) if length is None else length + 1,
        )


def _has_chat_template(tokenizer: Any) -> bool:
    return bool(getattr(tokenizer, "chat_template", None))
