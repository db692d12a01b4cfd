"""One stage: loop, loss, optimizer, sharding, checkpoints."""
