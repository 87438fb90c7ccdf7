"""Traces of a window of steps, read back with JAX's own reader."""

import jax
import jax.numpy as jnp
import pytest

from jaxfacs.runtime.profile import ProfileWindow


def traced(folder):
    """Numbers of the steps that the trace in FOLDER/profile marks; None: there is no trace."""
    traces = list((folder / "profile").rglob("*.xplane.pb"))
    if not traces:
        return None
    (trace,) = traces
    planes = jax.profiler.ProfileData.from_file(str(trace)).planes
    events = [event for plane in planes for line in plane.lines for event in line.events]
    stats = [dict(event.stats) for event in events if event.name == "train"]
    return {found["step_num"] for found in stats}


@pytest.mark.parametrize(
    ("window", "first", "expected"),
    [((3, 4), 1, {3, 4}), ((3, 5), 4, {4, 5}), ((3, 4), 5, None), ((0, 0), 1, None)],
)
def test_the_chosen_steps_are_traced_also_by_a_run_that_begins_among_them(
    tmp_path, window, first, expected
):
    step_of = jax.jit(lambda x: x @ x)
    profile = ProfileWindow(tmp_path, window)
    for step in range(first, 8):
        profile.before(step)
        with jax.profiler.StepTraceAnnotation("train", step_num=step):
            found = step_of(jnp.ones((8, 8)))
        profile.after(step, found)
    profile.close()
    assert traced(tmp_path) == expected


def test_several_processes_have_a_folder_each(tmp_path, monkeypatch):
    """The profiler names a trace by its host alone, and one host may run several."""
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    profile = ProfileWindow(tmp_path, (1, 1))
    profile.before(1)
    profile.after(1, jnp.ones(2))
    assert list((tmp_path / "profile" / "process-1").rglob("*.xplane.pb"))
