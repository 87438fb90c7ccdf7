"""What surrounds a long run: start of the processes, signals, liveness, clocks, metric files."""
