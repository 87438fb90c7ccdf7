"""Training: losses, optimiser, mesh, state, step, loop, checkpoints, and the commands over them."""
