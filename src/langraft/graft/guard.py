"""The language guard: whole sequences that the base alone answers, bit for bit.

A guarded sequence meets the original modules alone, called on the same batch in the same shapes
as in the base model, since matrix products round by shape. So its logits are bit-identical to
the base's on that batch, in prefill and in cached decoding, alone and beside unguarded sequences.
(torch picks some kernels by whether a weight asks for gradients; compare with a base that agrees
with the graft in this.)

Shape suffixes: B = sequences of a batch, S = tokens of a sequence, D = model width.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Sequence
from typing import Any

import torch
from torch import Tensor

from langraft.core.errors import ModelError, ShapeError


class LanguageGuard:
    """Which sequences of the current forward pass are guarded, for all modules of an expansion."""

    def __init__(self) -> None:
        """Start with no sequence guarded."""
        self._is_guarded: tuple[bool, ...] = ()

    @contextlib.contextmanager
    def guarding(self, is_guarded: Sequence[bool]) -> Generator[None]:
        """Guard some sequences of every forward pass inside.

        Args:
            is_guarded: One claim a sequence, (B,). With none of them true nothing changes.
        """
        before, self._is_guarded = self._is_guarded, tuple(is_guarded)
        try:
            yield
        finally:
            self._is_guarded = before

    @property
    def is_on(self) -> bool:
        """Whether a sequence of the current forward pass is guarded."""
        return any(self._is_guarded)

    def choose(self, base: Callable[[], Tensor], grafted: Callable[[], Tensor]) -> Tensor:
        """Return the base's output for guarded sequences and the grafted one for the rest.

        Args:
            base: Runs the original module on the whole batch, (B, S, D).
            grafted: Runs the grafted one; not called when every sequence is guarded.

        Raises:
            ShapeError: when the batch has another number of sequences than the guard.
        """
        if not self.is_on:
            return grafted()
        of_base = base()
        self._check_batch(len(of_base))
        if all(self._is_guarded):
            return of_base
        return self.keep(of_base, grafted().to(of_base.dtype))

    def covers(self, is_marked_B: Tensor) -> bool:
        """Say whether any of the marked sequences is guarded.

        Raises:
            ShapeError: when the batch has another number of sequences than the guard.
        """
        if not self.is_on:
            return False
        self._check_batch(len(is_marked_B))
        return bool((is_marked_B & torch.tensor(self._is_guarded, device=is_marked_B.device)).any())

    def keep(self, before: Tensor, after: Tensor) -> Tensor:
        """Return ``before`` for guarded sequences and ``after`` for the rest, (B, ...)."""
        if not self.is_on:
            return after
        mask_B = torch.tensor(self._is_guarded, device=after.device)
        return torch.where(mask_B.view(-1, *[1] * (after.ndim - 1)), before, after)

    def _check_batch(self, num_sequences: int) -> None:
        if num_sequences != len(self._is_guarded):
            raise ShapeError(
                f"The guard names {len(self._is_guarded)} sequences; the batch has {num_sequences}."
            )

    def watch_prompts(
        self, model: Any, is_guarded: Callable[[list[str]], list[bool]], tokenizer: Any
    ) -> None:
        """Guard by the text of each prompt, for as long as the model lives.

        A forward pass without cached tokens is a prompt; its verdict holds until the next prompt,
        so generated tokens follow their prompt. A copy of the model watches its own prompts.

        Args:
            model: The grafted model that this guard belongs to.
            is_guarded: Says of each text whether it is guarded.
            tokenizer: Decodes the prompts.
        """

        def judge(input_ids: Tensor, mask: Tensor) -> list[bool]:
            texts = [
                tokenizer.decode(ids[kept.bool()], skip_special_tokens=True)
                for ids, kept in zip(input_ids, mask, strict=True)
            ]
            return is_guarded(texts)

        model.register_forward_pre_hook(_PromptWatch(self, judge), with_kwargs=True)

    def decide(self, is_guarded: Sequence[bool]) -> None:
        """Guard some sequences from now on, (B,)."""
        self._is_guarded = tuple(is_guarded)

    @property
    def is_guarded(self) -> tuple[bool, ...]:
        """Which sequences are guarded, (B,); empty where none is."""
        return self._is_guarded


class _PromptWatch:
    """A hook that reads prompts for one guard.

    ``copy.deepcopy`` of a model copies guard and hook together, as this is an object; a function it
    would share, and the copy's prompts would set the guard of the original. The judge is one: it
    has no state, and its tokenizer and identifier are large.
    """

    def __init__(self, guard: LanguageGuard, judge: Callable[[Tensor, Tensor], list[bool]]) -> None:
        """Read prompts for a guard; the judge gets token ids and their mask, both (B, S)."""
        self._guard = guard
        self._judge = judge

    def __call__(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Judge the sequences of a forward pass that begins them."""
        del module
        cache = kwargs.get("past_key_values")
        if cache is not None and cache.get_seq_length() > 0:
            return
        input_ids = kwargs.get("input_ids", args[0] if args else None)
        if input_ids is None:
            raise ModelError(
                "The language guard reads prompts as input_ids; embeddings were given. Load "
                "with guard='off', or say what is guarded: model.langraft.guard.guarding(...)."
            )
        mask = kwargs.get("attention_mask")
        if mask is None or mask.shape != input_ids.shape:
            mask = torch.ones_like(input_ids)
        self._guard.decide(self._judge(input_ids, mask))
