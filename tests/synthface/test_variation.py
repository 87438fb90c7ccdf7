"""The switches of what the renderer varies."""

import pytest

from jaxfacs.errors import UserError
from jaxfacs.synthface.variation import EVERYTHING, KINDS, Variation


def test_kinds_are_left_out_by_name():
    left = Variation.without("hair", "range")
    assert not left.hair and not left.range
    assert sum(getattr(left, kind) for kind in KINDS) == len(KINDS) - 2
    assert Variation.without() == EVERYTHING
    assert not any(getattr(Variation.naive(), kind) for kind in KINDS)


def test_an_unknown_kind_is_named():
    with pytest.raises(UserError, match=r"'hat'.*wear"):
        Variation.without("hat")
