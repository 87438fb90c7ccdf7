"""From a bundle and a film to AUs and emotions. Imports no training code, no Flax, no Orbax."""
