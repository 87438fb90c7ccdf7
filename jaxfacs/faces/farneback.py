"""How dense optical flow is found, wherever it is: once at build time, or inside a network."""

# The parameters in normanrz/face-vid, extract_frames.py: cv2's argument 2, not its usual 5, is the
# reach of the polynomial.
FARNEBACK = {
    "pyr_scale": 0.5,
    "levels": 3,
    "winsize": 15,
    "iterations": 3,
    "poly_n": 2,
    "poly_sigma": 1.1,
}
