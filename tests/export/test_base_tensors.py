"""Which of an export's tensors are compared with the base's."""

from __future__ import annotations

from torch import nn

from langraft.export.base_tensors import held_tensors
from langraft.graft.methods.full import Full
from langraft.graft.surgery import graft_model
from tiny import tiny_model


def test_a_new_tensor_at_the_address_of_a_freed_one_is_not_taken_for_it() -> None:
    model = graft_model(tiny_model(), Full())
    held = held_tensors(model, tiny_model())
    embedding = model.get_input_embeddings()
    name = next(name for name, p in model.named_parameters() if p is embedding.weight)
    assert name in held(model)
    for _ in range(50):
        embedding.weight = nn.Parameter(embedding.weight.detach().clone())
        assert name not in held(model)
