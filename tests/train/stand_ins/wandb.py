"""Stands in for Weights & Biases: writes what it is told to a file, and fails when it is told to.

WANDB_STAND_IN is the file; WANDB_STAND_IN_FAILS "init", "finish" or which log, counted from 1.
"""

import json
import os
from types import SimpleNamespace


class Settings(SimpleNamespace):
    pass


class CommError(Exception):
    pass


def _tell(**what):
    with open(os.environ["WANDB_STAND_IN"], "a") as file:
        file.write(json.dumps(what) + "\n")


def _fails(what):
    if os.environ.get("WANDB_STAND_IN_FAILS") == str(what):
        raise CommError("no answer\nfrom the server")


def init(*, settings, **what):
    assert settings.init_timeout > 0 and settings.finish_timeout > 0
    _fails("init")
    _tell(init=what)
    return _Run()


class _Run:
    url, offline = "https://stand.in/run", False
    _logs = 0

    def define_metric(self, name, step_metric):
        _tell(metric=[name, step_metric])

    def log(self, numbers):
        self._logs += 1
        _fails(self._logs)
        _tell(log=numbers)

    def finish(self):
        _fails("finish")
        _tell(finish=True)
