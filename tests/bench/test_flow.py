"""bench flow runs, and refuses what it cannot time."""

import pytest

from jaxfacs.bench import flow
from jaxfacs.errors import UserError


def test_flow_prints_rates_and_the_distance(capsys, monkeypatch):
    monkeypatch.setattr(flow, "keep_freed_memory", lambda: False)
    flow.main(sizes=(32,), frames=2, clips=1, rounds=1)
    printed = capsys.readouterr().out
    assert "cv2" in printed and "apart by" in printed


@pytest.mark.parametrize("options", [{"frames": 1}, {"clips": 0}, {"sizes": (16,)}])
def test_bad_options_are_refused(options):
    with pytest.raises(UserError):
        flow.main(**options)
