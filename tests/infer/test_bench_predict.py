"""The benchmark runs on any film and model and names every stage."""

from jaxfacs.cli import main


def test_stages(bundles, film, capfd):
    words = ["--film", str(film), "--model", str(bundles["clip"]), "--frames", "10"]
    assert main(["bench", "predict", *words, "--repeats", "1"]) == 0
    out = capfd.readouterr().out
    assert "10 frames of 240x240; clips of 8x16x16" in out
    rows = {line[:34].strip(): line[34:].split() for line in out.splitlines()[2:]}
    assert {"decode", "crop", "network and answers", "write the table", "whole"} <= set(rows)
    assert all(float(rate) > 0 for rate, _ in rows.values())
