"""Rendered faces with exact Action Units: head models, motion, renderer, clips.

`jaxfacs.synthface.clip` is the entrance: `clip(seed)`, `film(...)`, `load_head(path)`.
Nothing here imports JAX; importing this package loads none of its modules.
"""
