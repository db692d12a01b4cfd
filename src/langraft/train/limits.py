"""What settings of speed and memory cannot do together, said before anything is spent."""

from __future__ import annotations

from langraft.core.errors import RecipeError
from langraft.core.training import Training
from langraft.graft.interface import check_experts
from langraft.train.parallel import Processes
from langraft.train.quantize import bitsandbytes


def refuse_impossible(training: Training, processes: Processes) -> None:
    """Refuse what these processes cannot carry out.

    Raises:
        ModelError: when nothing computes experts under the name that is given.
        RecipeError: when codes of 8 or 4 bits would have to be sharded, or pages to leave a GPU
            that is not there.
        MissingExtraError: when bitsandbytes is needed and not installed.
    """
    check_experts(training.experts)
    needs: list[str] = []
    if training.optimizer != "adamw":
        needs.append(f"training.optimizer: {training.optimizer}")
    if training.quantize_frozen is not None:
        needs.append(f"training.quantize_frozen: {training.quantize_frozen}")
    for setting in needs:
        if processes.world_size > 1:
            raise RecipeError(
                f"{setting} works in one process, and {processes.world_size} were started: the "
                "library's codes cannot be sharded. Leave it out (each process holds a share of "
                "base and moments as it is), or start one process."
            )
        bitsandbytes(setting)
    if training.optimizer == "paged_adamw_8bit" and processes.device.type == "cpu":
        raise RecipeError(
            "training.optimizer: paged_adamw_8bit moves moments from a GPU's memory to the host's; "
            "this machine trains on its CPU. Set adamw_8bit."
        )
