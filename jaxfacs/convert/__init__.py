"""Ways in and out: published weights to checkpoints, checkpoints to inference bundles."""
