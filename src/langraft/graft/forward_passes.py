"""Which forward pass a module computes for: the one that runs, or an earlier one done again.

An adapter reads what the layer below decided for each token, and every module asks the guard which
sequences are guarded; neither is an input of theirs. Two forward passes may lie before a backward
pass that recomputes layers of the first, and an output matrix may be called on a part of a pass
when another has run since. So each pass has shares and verdicts of its own, and what runs outside
of a pass finds its own by the memory of its input, which the pass remembers and which recomputation
and slices leave where it is. An adapter that finds none refuses.

Shape suffixes: B = sequences, S = tokens of a sequence, T = B * S, D = model width.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

from langraft.core.errors import ModelError
from langraft.families.sites import decoder_layers
from langraft.graft.guard import LanguageGuard
from langraft.graft.moe.recorder import RoutingRecorder


class ForwardPass:
    """What modules of a graft know of one forward pass, and the memory that belongs to it."""

    def __init__(self) -> None:
        """Begin a pass; no layer has run."""
        self.shares: dict[RoutingRecorder, dict[int, Tensor]] = {}  # by layer
        self.is_guarded: dict[LanguageGuard, tuple[bool, ...]] = {}
        self.inputs: list[StorageWeakRef] = []  # of layers
        self.hidden: tuple[StorageWeakRef, int, tuple[int, ...]] | None = None  # memory, start, BSD

    def __reduce__(self) -> tuple[type[ForwardPass], tuple[()]]:
        """Copy as one that has not run: its memory belongs to the original."""
        return ForwardPass, ()

    @property
    def is_alive(self) -> bool:
        """Whether something of it may be computed again or continued."""
        references = [*self.inputs, *([self.hidden[0]] if self.hidden else [])]
        return any(not reference.expired() for reference in references)

    def has_input(self, hidden: Tensor) -> bool:
        """Say whether a layer of the pass had this input."""
        return any(_is_in(hidden, reference) for reference in self.inputs)

    def places_of(self, hidden: Tensor) -> Tensor | None:
        """Return which of the T tokens some hidden states are; None where they are no slice."""
        if self.hidden is None or not _is_in(hidden, self.hidden[0]):
            return None
        _, start, (*_, width) = self.hidden
        offset = hidden.storage_offset() - start
        leading = list(zip(hidden.shape[:-1], hidden.stride()[:-1], strict=True))
        steps = [offset, *(stride for size, stride in leading if size > 1)]
        is_whole = hidden.shape[-1] == width and hidden.stride(-1) == 1
        if not is_whole or any(step % width for step in steps):
            return None
        places = torch.tensor(offset // width)
        for size, stride in leading:
            places = places.unsqueeze(-1) + torch.arange(size) * (stride // width)
        return places


_State = tuple[ForwardPass, bool, list[tuple[bool, ...]]]  # current, running, guarded


def _is_in(tensor: Tensor, storage: StorageWeakRef) -> bool:
    return not storage.expired() and StorageWeakRef(tensor.untyped_storage()) == storage


class ForwardPasses:
    """The forward passes of a grafted model that are still of use; all expansions share it."""

    def __init__(self) -> None:
        """Start without any."""
        self._recorders: list[RoutingRecorder] = []
        self._guards: list[LanguageGuard] = []
        self._current = ForwardPass()
        self._alive: list[ForwardPass] = []
        self._is_running = False
        self._before: list[_State] = []  # of each layer that runs

    def watch(self, model: Any, recorder: RoutingRecorder, guard: LanguageGuard) -> None:
        """Keep apart by pass what an expansion's modules record and ask.

        Args:
            model: Its decoder is hooked with the first expansion.
            recorder: Of the expansion.
            guard: Of the expansion.
        """
        is_first = not self._recorders
        self._recorders.append(recorder)
        self._guards.append(guard)
        if not is_first:
            return
        path, layers = decoder_layers(model)
        decoder = model.get_submodule(path.rpartition(".")[0])
        decoder.register_forward_pre_hook(self._begin)
        decoder.register_forward_hook(self._end, always_call=True)
        for layer in layers:
            layer.register_forward_pre_hook(self._enter, with_kwargs=True)
            layer.register_forward_hook(self._leave, always_call=True)

    def share_of(self, recorder: RoutingRecorder, layer: int, hidden: Tensor) -> Tensor:
        """Return the share of new experts of tokens whose last hidden states these are.

        Args:
            recorder: Of the expansion.
            layer: Whose experts.
            hidden: What a pass returned, or a slice of it, (..., D).

        Raises:
            ModelError: when it is a copy or of a pass that is gone.
        """
        for each in reversed(self._alive):
            places = each.places_of(hidden)
            if places is not None:
                shares_T = each.shares[recorder][layer]
                return shares_T[places.to(shares_T.device)]
        raise ModelError(
            "The output adapter (output_rank) weighs each token by the experts that it met, and "
            "these hidden states are no slice of what the model's last passes returned. Call the "
            "output matrix on the hidden states themselves or on slices of them, not on copies "
            "(contiguous, to, indexing by tensors), or compute logits by the whole model."
        )

    def _begin(self, decoder: nn.Module, args: Any) -> None:
        self._alive = [each for each in self._alive if each.is_alive]
        self._is_running = True
        self._current = ForwardPass()
        self._current.is_guarded = {guard: guard.is_guarded for guard in self._guards}
        self._activate(self._current)
        self._alive.append(self._current)
        for layer in decoder.modules() if decoder.training else ():
            function = getattr(layer, "_gradient_checkpointing_func", None)
            # A compiled layer keeps what it needs; `compile` sets this in the instance.
            is_compiled = vars(layer).get("_compiled_call_impl") is not None
            if function is not None and not is_compiled and type(function) is not _InItsPass:
                vars(layer)["_gradient_checkpointing_func"] = _InItsPass(function, self)

    def _end(self, decoder: Any, args: Any, output: Any) -> None:
        self._is_running = False
        hidden = None if output is None else output[0]
        is_compiling = torch.compiler.is_compiling()
        if isinstance(hidden, Tensor) and hidden.is_contiguous() and not is_compiling:
            memory = StorageWeakRef(hidden.untyped_storage())
            self._current.hidden = (memory, int(hidden.storage_offset()), tuple(hidden.shape))

    def _enter(self, layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if torch.compiler.is_compiling():
            return
        self._before.append(self._state())
        hidden = next(each for each in (*args, *kwargs.values()) if isinstance(each, Tensor))
        if self._is_running:
            self._current.inputs.append(StorageWeakRef(hidden.untyped_storage()))
            return
        found = (each for each in reversed(self._alive) if each.has_input(hidden))
        self._activate(next(found, ForwardPass()))

    def _leave(self, layer: Any, args: Any, output: Any) -> None:
        if not torch.compiler.is_compiling():
            self._restore(self._before.pop())

    def _activate(self, forward_pass: ForwardPass) -> None:
        """Let modules read, and layers write, what belongs to a pass."""
        self._current = forward_pass
        for guard, is_guarded in forward_pass.is_guarded.items():
            guard.decide(is_guarded)
        for recorder in self._recorders:
            recorder.use(forward_pass.shares.setdefault(recorder, {}))

    def run_in(self, forward_pass: ForwardPass, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function as a part of a pass."""
        before = self._state()
        self._is_running = True
        self._activate(forward_pass)
        try:
            return function(*args)
        finally:
            self._restore(before)

    def _state(self) -> _State:
        return self._current, self._is_running, [guard.is_guarded for guard in self._guards]

    def _restore(self, state: _State) -> None:
        current, self._is_running, verdicts = state
        self._activate(current)
        for guard, is_guarded in zip(self._guards, verdicts, strict=True):
            guard.decide(is_guarded)

    @property
    def current(self) -> ForwardPass:
        """The pass that runs, or the last one."""
        return self._current


class _InItsPass:
    """A checkpointing function of transformers that computes layers again in their own pass.

    The library recomputes a layer's ``forward``, which no hook sees.
    """

    def __init__(self, function: Callable[..., Any], passes: ForwardPasses) -> None:
        """Wrap what the library calls with a layer's ``forward`` and its arguments."""
        self._function = function
        self._passes = passes

    def __call__(self, forward: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Run a layer now, and in a backward pass again."""
        in_pass = partial(self._passes.run_in, self._passes.current, forward)
        return self._function(in_pass, *args, **options)
