"""The mixture of experts in a layer: router, gate, experts, dispatch and their losses."""
