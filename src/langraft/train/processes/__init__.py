"""Several processes: sharding, meshes, gradient synchronisation, what a lost peer means."""
