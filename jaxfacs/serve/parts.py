"""How the server makes the parts of inference that a film or a live client needs."""

import inspect
from collections.abc import Callable
from typing import Any

from jaxfacs.infer import answers as _answers
from jaxfacs.infer.live import Live
from jaxfacs.infer.predictor import Predictor
from jaxfacs.infer.stream import Stream


def reading(predictor: Predictor):
    return getattr(predictor, "reading", None) or predictor._reading


def answers(predictor: Predictor, *, fps=None, rest=None, **settings: Any):
    if hasattr(_answers, "AnswerSettings"):
        chosen = _answers.AnswerSettings(**settings)
        return _answers.Answers(reading(predictor), chosen, fps=fps, rest=rest)
    return _answers.Answers(reading(predictor))


def stream(predictor: Predictor, *, fps, still, follow, submit, **settings: Any) -> Stream:
    if "submit" in inspect.signature(predictor.stream).parameters:
        more = {}
        if "settings" in inspect.signature(predictor.stream).parameters:
            more["settings"] = _answers.AnswerSettings(**settings)
        return predictor.stream(fps=fps, still=still, follow=follow, submit=submit, **more)
    made = predictor.stream(fps=fps, still=still, follow=follow)
    made._submit = submit
    return made


def live(predictor: Predictor, *, follow: Callable, **settings: Any) -> Live:
    return Live(
        follow=follow,
        crop=predictor.crop,
        reading=reading(predictor),
        answers=answers(predictor, causal=True, **settings),
        spec=predictor.bundle.input,
    )
