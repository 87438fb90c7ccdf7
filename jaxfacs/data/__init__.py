"""Records, their builders, and the input pipeline: numpy, cv2, grain and array_record; no JAX."""
