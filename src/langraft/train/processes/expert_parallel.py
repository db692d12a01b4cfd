"""Expert parallelism: each process has some of a layer's new experts, and tokens are sent to them.

Each process keeps N / P whole experts of a layer and sends every row to the process that has its
expert; the outputs come back to where the rows were (as in GShard, arXiv:2006.16668, section 3.2,
and torchtitan). No row is dropped: first the processes tell each other how many come.

Shape suffixes: A = rows to process, sorted by expert, D = model width, N = new experts, P =
processes that share them out, L = N / P experts of a process, R = rows that arrive here.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed._functional_collectives import all_to_all_single_autograd
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import Shard, distribute_module, distribute_tensor
from torch.distributed.tensor.parallel import ParallelStyle

from langraft.graft.moe.experts import ExpertBank


class ExpertParallel(ParallelStyle):
    """Shards the experts of one bank over processes; its calls take and return rows as before."""

    def __init__(self) -> None:
        """Make a style for one bank; it remembers the rows of a call until their outputs return."""
        super().__init__()
        self._sent: list[int] = []  # rows to each process
        self._received: list[int] = []  # rows from each process
        self._place_R = torch.zeros(0, dtype=torch.int64)  # where each arrived row was put
        self._num_rows = 0

    def _apply(self, module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
        assert isinstance(module, ExpertBank)
        hooks: Any = (_shard_experts, self._send, self._return)  # annotated as returning nothing
        return distribute_module(module, device_mesh, *hooks)

    def _send(self, module: nn.Module, inputs: Any, mesh: DeviceMesh) -> tuple[Tensor, Tensor]:
        """Turn (A, D) rows and the ends of all N experts into those of the experts here."""
        del module
        x_AD, ends_N = inputs
        ends_N = ends_N.to(x_AD.device)
        counts_PL = ends_N.diff(prepend=ends_N.new_zeros(1)).view(mesh.size(), -1)
        arriving_PL = torch.empty_like(counts_PL)
        dist.all_to_all_single(arriving_PL, counts_PL.contiguous(), group=mesh.get_group())
        sent, received = torch.stack([counts_PL.sum(1), arriving_PL.sum(1)]).tolist()
        self._sent, self._received, self._num_rows = sent, received, len(x_AD)
        x_RD = all_to_all_single_autograd(
            x_AD[: sum(sent)].contiguous(), received, sent, mesh.get_group()
        )
        # Rows arrive sorted by process, then by expert; the bank wants them by expert alone.
        experts_L = torch.arange(counts_PL.shape[1], device=x_AD.device)
        expert_R = experts_L.repeat(mesh.size()).repeat_interleave(
            arriving_PL.flatten(), output_size=sum(received)
        )
        order_R = expert_R.argsort(stable=True)
        self._place_R = torch.empty_like(order_R)
        self._place_R[order_R] = torch.arange(len(order_R), device=order_R.device)
        ends_L = arriving_PL.sum(0).cumsum(0).to(torch.int32)
        return x_RD[order_R], ends_L

    def _return(self, module: nn.Module, y_RD: Tensor, mesh: DeviceMesh) -> Tensor:
        """Return the outputs of the (A, D) rows that were sent, zeros for those of no expert."""
        del module
        y_AD = all_to_all_single_autograd(
            y_RD[self._place_R], self._sent, self._received, mesh.get_group()
        )
        return nn.functional.pad(y_AD, (0, 0, 0, self._num_rows - len(y_AD)))


def _shard_experts(name: str, module: nn.Module, mesh: DeviceMesh) -> None:
    """Keep this process's experts of every tensor of a bank; all processes hold the same before."""
    del name
    for attribute, parameter in list(module.named_parameters(recurse=False)):
        share = distribute_tensor(parameter.data, mesh, [Shard(0)], src_data_rank=None)
        setattr(module, attribute, nn.Parameter(share, requires_grad=parameter.requires_grad))
