"""A picture in, face crops out: the same code when records are built and when a film is read."""
