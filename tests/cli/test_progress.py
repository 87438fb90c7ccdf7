from jaxfacs.progress import track


def test_an_item_may_stand_for_several_units(capsys):
    words = ["one", "three", "five"]
    assert list(track(words, label="reading", total=12, unit="letter", amount=len)) == words
    assert "reading: 12 letters in" in capsys.readouterr().err


def test_without_amounts_items_are_counted(capsys):
    assert list(track(range(3), label="counting", unit="clip")) == [0, 1, 2]
    assert "counting: 3 clips in" in capsys.readouterr().err


def test_a_bar_on_a_terminal_counts_units(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert list(track([4, 5], label="x", total=9, unit="frame", amount=int)) == [4, 5]
    assert "9/9" in capsys.readouterr().err
