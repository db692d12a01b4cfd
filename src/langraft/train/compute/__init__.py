"""How a step computes: attention, loss, precision, recomputation, compilation."""
