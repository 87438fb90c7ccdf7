"""What is painted lies where it belongs, and only what was asked for changes."""

import dataclasses

import numpy as np
import pytest

from jaxfacs.synthface import canvas, heads, paint
from jaxfacs.synthface.canvas import IRIS, SCLERA, SKIN_ROWS, TEETH
from jaxfacs.synthface.look import Look, sample_look


@pytest.fixture(scope="module")
def head() -> heads.Head:
    return heads.load()


def plain(**changes) -> Look:
    look = dataclasses.replace(
        sample_look(np.random.default_rng(2)), hair="bald", beard="none", melanin=0.8, liner=0.0
    )
    return dataclasses.replace(look, **changes)


def painted(head, **changes) -> paint.Paint:
    return paint.paint(head, canvas.canvas(head), plain(**changes))


def changed_texels(head, name: str) -> np.ndarray:
    """(u, v) of the skin's texels that differ between none and all of a trait, N×2."""
    none, full = (painted(head, **{name: value}).atlas_HW3 for value in (0.0, 1.0))
    np.testing.assert_array_equal(none[SKIN_ROWS:], full[SKIN_ROWS:])
    difference = np.abs(full[:SKIN_ROWS].astype(int) - none[:SKIN_ROWS]).max(axis=2)
    return np.argwhere(difference > 60)[:, ::-1]


@pytest.mark.parametrize(
    ("name", "where"),
    [("lid_crease", slice(36, 48)), ("lash", slice(36, 48)), ("lip_line", slice(48, 68))],
)
def test_lines_lie_at_lids_and_lips(head, name, where):
    sheet = canvas.canvas(head)
    at = changed_texels(head, name)
    marks = sheet.landmarks_68x2[where]
    assert len(at) > 40
    gap = np.linalg.norm(at[:, None] - marks[None], axis=2).min(axis=1) / sheet.texel
    assert gap.max() < 1.5


def test_spots_are_on_the_face_and_dark(head):
    sheet = canvas.canvas(head)
    at = changed_texels(head, "spots")
    assert len(at) > 30
    middle = sheet.landmarks_68x2[30]
    assert np.median(np.linalg.norm(at - middle, axis=1)) / sheet.texel < 8
    none, full = (painted(head, spots=value).atlas_HW3[:SKIN_ROWS] for value in (0.0, 1.0))
    assert np.all(full <= none.astype(int) + 40)


def test_rings_lie_below_the_eyes(head):
    sheet = canvas.canvas(head)
    none, full = (painted(head, rings=value).albedo_V3 for value in (0.0, 1.0))
    darker = none.mean(axis=1) - full.mean(axis=1)
    at = head.vertices_V3[darker > 0.4 * darker.max()] / sheet.unit
    eyes = head.vertices_V3[head.landmarks_68[36:48]] / sheet.unit
    assert darker.min() > -1e-6 and darker.max() > 0.02
    assert at[:, 1].max() < eyes[:, 1].max() and at[:, 1].min() > eyes[:, 1].min() - 3
    assert (np.abs(at[:, 0]) > 0.8).all()


@pytest.mark.parametrize(("name", "parts"), [("catch_light", (SCLERA, IRIS)), ("wet", (TEETH,))])
def test_shine_is_that_of_eyes_and_of_teeth_and_lips(head, name, parts):
    sheet = canvas.canvas(head)
    dull, bright = (painted(head, **{name: value}) for value in (0.3, 1.2))
    np.testing.assert_array_equal(dull.albedo_V3, bright.albedo_V3)
    shines = bright.gloss_V > dull.gloss_V + 1e-3
    own = np.isin(sheet.part_V, parts)
    assert shines[own].all()
    lip = head.masks["lip"] > 1e-3
    assert not shines[~own & ~(lip & (name == "wet"))].any()


def test_a_receding_hairline_bares_the_temples(head):
    sheet = canvas.canvas(head)
    full, back = (
        paint.scalp(sheet, plain(hair=hair, hairline=line))
        for hair, line in (("short", 0.0), ("receding", 1.5))
    )
    bared = (full > 0.8) & (back < 0.2)
    columns = np.nonzero(bared)[1] - sheet.landmarks_68x2[27, 0]
    assert bared.sum() > 200
    assert np.abs(columns).max() < canvas.WIDTH * 0.25  # only in front
    assert back.sum() > 0.5 * full.sum()
