"""The benchmark runs on any film and model and names every stage."""

from jaxfacs.cli import main


def test_stages(bundles, film, capfd):
    words = ["--film", str(film), "--model", str(bundles["clip"]), "--frames", "10"]
    assert main(["bench", "predict", *words, "--repeats", "1", "--long", "40"]) == 0
    out = capfd.readouterr().out
    assert "10 frames of 240x240; clips of 8x16x16" in out
    lines = out.splitlines()
    stages = lines[2 : next(i for i, line in enumerate(lines) if line.startswith("whole:"))]
    rows = {line[:34].strip(): line[34:].split() for line in stages}
    assert {"decode", "align and crop", "network and answers", "write the table", "whole"} <= set(
        rows
    )
    assert all(float(rate) > 0 for rate, _ in rows.values())
    assert [line.split()[2] for line in lines if line.startswith("network, batch")] == list("1248")
    assert lines[-1].count("MB") == 4
