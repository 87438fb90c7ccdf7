"""Bundles of tiny networks, made without training."""

import json
import zipfile

import jax
import jax.numpy as jnp
import numpy as np

from jaxfacs.convert.export import write_bundle
from jaxfacs.infer import bundle

AUS = ("1", "4", "12", "L14")
SIZE, FRAMES = 16, 8
THRESHOLDS = {"1": 0.3, "4": 0.5, "12": 0.71, "L14": 0.05}


def tiny_function(weights, frames_BTHWC, *, per_frame, intensity, emotion):
    """Mean colour of each frame times a matrix: the answer says which frames it came from."""
    colour_BTC = frames_BTHWC.astype(jnp.float32).mean((2, 3)) / 255
    if not per_frame:
        colour_BTC = colour_BTC[:, FRAMES // 2]
    logits = colour_BTC @ weights["kernel"] + weights["bias"]
    outputs = {"probability": jax.nn.sigmoid(logits)}
    if intensity:
        outputs["intensity"] = 5 * jax.nn.sigmoid(logits - 1)
    if emotion:
        pooled = colour_BTC.mean(1) if per_frame else colour_BTC
        outputs["emotion"] = jax.nn.softmax(pooled @ weights["kernel"][:, :2])
    return outputs


def write_tiny(
    path,
    *,
    per_frame=False,
    intensity=False,
    emotion=False,
    answers=None,
    mapper=None,
    crop=None,
    **input,
):
    rng = np.random.default_rng(0)
    weights = {
        "kernel": rng.normal(0, 6, (3, len(AUS))).astype(np.float32),
        "bias": rng.normal(-1, 1, len(AUS)).astype(np.float32),
    }

    def function(weights, frames):
        return tiny_function(
            weights, frames, per_frame=per_frame, intensity=intensity, emotion=emotion
        )

    if answers is None:
        answers = tuple(range(FRAMES)) if per_frame else (FRAMES // 2,)
    return write_bundle(
        path,
        function=function,
        weights=weights,
        input=bundle.InputSpec(frames=FRAMES, size=SIZE, answers=answers, **input),
        aus=AUS,
        emotions=("happy", "sad") if emotion else (),
        thresholds=THRESHOLDS,
        crop=crop or {"detector": "haar", "margin": 0.2, "size": 24},
        emotion_mapper=mapper,
        about={"note": "a test"},
    )


def write_confident(path, *, per_frame=True, threshold=0.4, emotion=False):
    """Confident where the face is red, which the drawn one becomes little by little."""
    rng = np.random.default_rng(0)
    weights = {
        "kernel": rng.normal(0, 6, (3, len(AUS))).astype(np.float32),
        "bias": rng.normal(-1, 1, len(AUS)).astype(np.float32),
    }

    def function(weights, frames_BTHWC):
        answers = tiny_function(
            weights, frames_BTHWC, per_frame=per_frame, intensity=True, emotion=emotion
        )
        red = frames_BTHWC[..., :1].astype(jnp.float32).mean((2, 3)) / 255
        red = red if per_frame else red[:, FRAMES // 2]
        return answers | {"confidence": jax.nn.sigmoid(200 * (red - 0.65))}

    return write_bundle(
        path,
        function=function,
        weights=weights,
        input=bundle.InputSpec(
            frames=FRAMES,
            size=SIZE,
            answers=tuple(range(FRAMES)) if per_frame else (FRAMES // 2,),
        ),
        aus=AUS,
        emotions=("happy", "sad") if emotion else (),
        crop={"detector": "haar", "margin": 0.2, "size": 24},
        confidence_threshold=threshold,
    )


def rewritten(source, path, change):
    """The same file with a changed manifest, sealed again."""
    with zipfile.ZipFile(source) as file:
        members = {name: file.read(name) for name in file.namelist()}
    manifest = json.loads(members[bundle.MANIFEST])
    manifest.pop("sha256")
    change(manifest)
    members[bundle.MANIFEST] = json.dumps(bundle._sealed(manifest)).encode()
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path
