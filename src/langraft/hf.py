"""Train a graft in loops that are not langraft's: transformers' ``Trainer`` and those built on it.

checkpoint-500/model.safetensors    what ``Trainer`` resumes from: the graft's tensors, no base
checkpoint-500/graft/               the same graft in its small form, for ``langraft.load``
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from langraft.core.errors import ModelError
from langraft.families.load import resolve_base
from langraft.graft.checkpoint_folder import is_plain_model, save_by_transformers
from langraft.graft.store import graft_tensors, save

GRAFT_FOLDER = "graft"  # in a checkpoint, as in the folder of a run


class GraftCallback(TrainerCallback):
    """Let a ``Trainer`` save a grafted model so that it can be loaded and resumed from.

    Every folder that the trainer saves the model to, each checkpoint and ``trainer.save_model``,
    gets the graft's small form in ``graft/``. What the trainer itself resumes from then holds the
    graft's tensors only; the base is read from where it is. A model that is a plain one of its
    class (LLaMA-Pro, full training) is saved whole.

        trainer = Trainer(model=model, ..., callbacks=[GraftCallback("path/of/base")])
        trainer.train(resume_from_checkpoint=True)
        model = langraft.load("out/checkpoint-500/graft")

    Only this model's own ``save_pretrained`` changes, not that of its class.
    """

    def __init__(self, base: Path | str, *, tokenizer: Path | str | None = None) -> None:
        """Take what ``langraft.save`` takes.

        Args:
            base: Folder or hub name of the base the model was grafted on, or of the earlier graft.
            tokenizer: Folder of a tokenizer to keep with the graft, such as one with another chat
                template; by default the extended one, or the earlier graft's own.

        Raises:
            ModelError: when there is no such base.
        """
        resolve_base(str(base))
        self.base = base
        self.tokenizer = Path(tokenizer) if tokenizer is not None else None

    def on_init_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        *,
        model: Any = None,
        **kwargs: Any,
    ) -> None:
        """Prepare the model before anything is saved or resumed from.

        Raises:
            ModelError: when it is not grafted, trains what the graft would not hold, or is
                sharded.
        """
        del state, control, kwargs
        _check_model(model)
        if args.fsdp or args.deepspeed:
            raise ModelError(
                "GraftCallback saves whole tensors, and FSDP and DeepSpeed shard them. Leave out "
                "fsdp and deepspeed (several processes of torchrun without them are fine), or "
                "train with `langraft run`, which shards."
            )
        if not is_plain_model(model):
            model._keys_to_ignore_on_save = model.state_dict().keys() - graft_tensors(model).keys()
        model.save_pretrained = partial(
            _save_with_graft, model, base=self.base, tokenizer=self.tokenizer
        )

    on_train_begin = on_init_end  # for a callback added later, and parameters thawed since


def _check_model(model: Any) -> None:
    """Refuse a model of which training would be lost."""
    if "langraft" not in vars(model):
        raise ModelError(
            f"GraftCallback was given a {type(model).__name__} that is not grafted. Graft it "
            "with langraft.graft_model, or load a graft with langraft.load, before it goes to the "
            "trainer; a graft wrapped by another library (PEFT) cannot be saved as one."
        )
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    if lost := sorted(trained - graft_tensors(model).keys()):
        raise ModelError(
            f"The trainer would train {len(lost)} tensors of the base that the graft does not "
            f"hold, for example {lost[0]}. Freeze them with requires_grad_(False); or, to train "
            "the base too, set model.langraft.is_base_changed = True: then all tensors are saved."
        )


def _save_with_graft(
    model: Any,
    save_directory: Path | str,
    *,
    base: Path | str,
    tokenizer: Path | None,
    **settings: Any,
) -> None:
    """Write what ``Trainer`` resumes from, and the graft in its small form beside it."""
    save_by_transformers(model, save_directory, **settings)
    if settings.get("is_main_process", True):
        save(model, Path(save_directory) / GRAFT_FOLDER, base=base, tokenizer=tokenizer)
