"""bench input times stills, clips and flow, each beside a plain loop over the same records."""

import pytest

from jaxfacs.bench import input as bench


@pytest.mark.parametrize("kind", ["stills", "clips", "flow", "all"])
def test_each_kind_has_its_table(capsys, kind):
    bench.main(
        kind=kind, clips=2, frames=2, size=24, batch_size=2, threads=(1,), repeats=1, seconds=0.01
    )
    tables = capsys.readouterr().out.split("plain decode, one thread")
    names = ["stills", "clips", "flow"] if kind == "all" else [kind]
    assert len(tables) == len(names) + 1
    for name, table in zip(names, tables, strict=False):
        assert f"{name}: 2×24×24" in table
        assert ("10 channels of flow" in table.splitlines()[-2]) == (name == "flow")
    assert capsys.readouterr().err == ""


def test_bytes_count_flow_as_well(capsys):
    """A frame of 24 pixels is 24² · 3 bytes, and with ten float16 channels 24² · 23."""
    rates = {bench.PLAIN: [(1e6, 1e6)]}
    for name, expected in (("stills", 24 * 24 * 3), ("flow", 24 * 24 * 23)):
        kind = bench.Kind(2, 24, 2, bench.KINDS[name].flow)
        bench._print(name, kind, rates)
        row = capsys.readouterr().out.splitlines()[-1].split()
        assert int(row[-3]) == expected and float(row[-2]) == 1.0
