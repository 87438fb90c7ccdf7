"""People: pure functions of their number, unlike at rest, and known without a picture."""

import numpy as np
import pytest

from jaxfacs.synthface import clip, heads, people
from jaxfacs.synthface.variation import Variation


@pytest.fixture(scope="module")
def head():
    return clip.load_head()


def test_traits_are_known_without_rendering(head):
    for subject in range(20):
        person, known = people.sample_person(subject, head=head), people.facts(subject)
        assert (known.years, known.male) == (person.years, person.male)
        assert known.melanin == person.look.melanin and known.hair == person.look.hair
        assert 3 <= person.years <= 90 and -1 <= person.male <= 1


def test_ages_and_sexes_are_all_there_and_no_child_has_a_beard():
    drawn = [people.facts(subject) for subject in range(400)]
    years = np.array([d.years for d in drawn])
    assert (years < 13).mean() > 0.06 and (years > 65).mean() > 0.07
    assert np.mean([d.male > 0.2 for d in drawn]) == pytest.approx(0.45, abs=0.1)
    assert all(d.beard == "none" for d in drawn if d.years < 16)


def test_resting_faces_differ_where_people_may():
    rests = [people._rest(people.stream(s, people.REST), 0.0, wanted=True)[1] for s in range(200)]
    spread = dict(zip(people._rest(np.random.default_rng(), 0, wanted=True)[0],
                      np.std(rests, axis=0), strict=True))  # fmt: skip
    assert spread["L1"] > 0.25 and spread["L15"] > 0.2 and spread["Lrest_brow"] > 0.6
    for (label, _), values in zip(spread.items(), np.transpose(rests), strict=True):
        _, least, most = people._REST[label.removeprefix("L").removeprefix("R")]
        assert values.min() >= least and values.max() <= most
    sides = np.array([(r[0], r[1]) for r in rests])  # L1 and R1: related, not alike
    assert 0.5 < np.corrcoef(sides.T)[0, 1] < 0.999


def test_people_are_plain_where_that_is_wanted(head):
    plain = people.sample_person(5, head=head, variation=Variation.without("people", "range"))
    assert plain.years == 30 and plain.male == 0 and not plain.gain and not plain.style
    varied = people.sample_person(5, head=head)
    assert np.abs(plain.neutral_V3 - varied.neutral_V3).max() > 0.1


def test_a_face_makes_an_action_its_own_way(head):
    person = people.sample_person(3, head=head)
    labels, posed_TS = people.posing(person, ("L12", "43"), np.array([[0, 0], [4, 5]], np.float32))
    at = dict(zip(labels, posed_TS.T, strict=True))
    assert at["L12"][0] == 0 and 0.84 * 4 <= at["L12"][1] <= 1.2 * 4
    assert at["43"][1] == 5  # eyes shut on everybody
    np.testing.assert_allclose(at["L12~"], at["L12"] * person.style["12"])


def test_traits_move_the_face_as_they_are_called(head):
    """A child's lower face is short beside its eyes' distance; an old brow is low."""
    child, plain = (_marks(head, k * head.traits["child"]) for k in (1, 0))
    eyes = [np.linalg.norm(m[45] - m[36]) for m in (child, plain)]
    chin = [m[27, 1] - m[8, 1] for m in (child, plain)]
    assert chin[0] / eyes[0] < 0.97 * chin[1] / eyes[1]
    old = _marks(head, head.traits["old"])
    assert old[25, 1] - old[46, 1] < plain[25, 1] - plain[46, 1] - 0.05


def _marks(head, moved_V3):
    return heads.landmarks_of(head, head.vertices_V3 + moved_V3)


def test_the_ict_head_has_what_is_beyond_the_list(ict_folder):
    head = clip.load_head(str(ict_folder))
    assert set(heads.EXTRAS) <= set(head.shapes)
    tongue = heads.deform(head, {"19": 5.0})
    lower_lip = heads.landmarks_of(head, tongue)[57]
    mouth = np.unique(head.triangles_F3[head.part_F == heads.PARTS.index("mouth")])
    assert tongue[mouth, 2].max() > lower_lip[2]  # out of the mouth
    frown = heads.landmarks_of(head, heads.deform(head, {"4": 5.0}))
    rest = heads.landmarks_of(head, head.vertices_V3)
    assert np.ptp(frown[[21, 22], 0]) < np.ptp(rest[[21, 22], 0]) - 0.5  # brows drawn together
    oblique = heads.landmarks_of(head, heads.deform(head, {"1": 5.0})) - rest
    assert oblique[21, 1] > 0.6 and oblique[18, 1] < 0.3 * oblique[21, 1]
    test_traits_move_the_face_as_they_are_called(head)
