"""bench render: a row for each size and kind, whose shares are of all the time."""

import pytest

from jaxfacs.bench import render as bench
from jaxfacs.errors import UserError
from jaxfacs.synthface import raster


def test_rows_and_shares(capsys):
    before = raster.rasterize
    bench.main(sizes=(32,), stills=1, per_person=1, frames=1, rounds=1)
    lines = capsys.readouterr().out.splitlines()
    assert raster.rasterize is before  # nothing stays watched
    names = lines[1].split()
    assert names[-len(bench.STAGES) - 1 :] == [*bench.STAGES, bench.REST]
    assert [line.split()[:3] for line in lines[2:]] == [
        ["builtin", "32", "stills"],
        ["builtin", "32", "clips"],
    ]
    for line in lines[2:]:
        row = dict(zip(names, line.split(), strict=True))
        shares = [int(row[stage].rstrip("%")) for stage in (*bench.STAGES, bench.REST)]
        assert sum(shares) == pytest.approx(100, abs=6) and min(shares) >= 0
        assert float(row["floor"]) > float(row["frames/s"]) > 0
        assert int(row["triangles"].rstrip("%")) > 0 and int(row["pixels"].rstrip("%")) > 0


def test_numbers_that_make_no_sense():
    with pytest.raises(UserError, match="must be above 0"):
        bench.main(stills=0)
