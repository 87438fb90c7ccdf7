"""Compiled programs are kept between runs, for their user alone; damage to them harms nothing."""

import os
import stat
from contextlib import contextmanager

import jax
import numpy as np
import pytest
from tiny_bundle import FRAMES, SIZE

from jaxfacs.infer import bundle, compile_cache, compiled

CLIPS = np.random.default_rng(0).integers(0, 256, (2, FRAMES, SIZE, SIZE, 3), np.uint8)
HIT, MISS = "/jax/compilation_cache/cache_hits", "/jax/compilation_cache/cache_misses"


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXFACS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@contextmanager
def counted():
    """How often JAX found a program, and how often it kept one."""
    seen = {HIT: 0, MISS: 0}

    def listen(event, **_):
        if event in seen:
            seen[event] += 1

    jax.monitoring.register_event_listener(listen)
    try:
        yield seen
    finally:
        jax.monitoring.unregister_event_listener(listen)


def answers(path):
    """As a new process would: nothing compiled is left in memory."""
    jax.clear_caches()
    network = compiled.network(bundle.read(path))
    return np.asarray(network(CLIPS)["probability"])


def entries(root):
    return sorted(root.rglob("*-cache"))


def test_the_second_run_does_not_compile(root, bundles):
    with counted() as seen:
        first = answers(bundles["clip"])
    assert seen == {HIT: 0, MISS: 1} and len(entries(root)) == 1
    with counted() as seen:
        np.testing.assert_array_equal(answers(bundles["clip"]), first)
    assert seen == {HIT: 1, MISS: 0}
    if os.name == "posix":
        assert stat.S_IMODE(entries(root)[0].parent.stat().st_mode) == 0o700


def test_each_shape_and_each_bundle_has_its_own(root, bundles):
    network = compiled.network(bundle.read(bundles["clip"]))
    for count in (1, 2, 2, 1):
        network(CLIPS[:count])
    answers(bundles["frame"])
    assert sorted(len(entries(folder)) for folder in (root / "compiled").iterdir()) == [1, 2]


def test_settings_of_the_process_are_as_before(root, bundles):
    names = [*compile_cache._SETTINGS, "jax_compilation_cache_dir"]
    before = {name: getattr(jax.config, name) for name in names}
    answers(bundles["clip"])
    assert {name: getattr(jax.config, name) for name in names} == before


def test_a_changed_entry_is_thrown_away_unread(root, bundles):
    first = answers(bundles["clip"])
    (entry,) = entries(root)
    whole = entry.read_bytes()
    entry.write_bytes(whole[: len(whole) // 2] + b"\x90" + whole[len(whole) // 2 + 1 :])
    with counted() as seen:
        np.testing.assert_array_equal(answers(bundles["clip"]), first)
    assert seen == {HIT: 0, MISS: 1}
    (entry.parent / "unknown-cache").write_bytes(b"somebody's")
    (entry.parent / compile_cache.DIGESTS).write_text("[1")
    np.testing.assert_array_equal(answers(bundles["clip"]), first)
    assert [path.name for path in entries(root)] == [entry.name]


def test_an_entry_that_was_written_wrong_costs_one_compilation(root, bundles):
    """With the right digest, as after a full disk: JAX cannot read it."""
    first = answers(bundles["clip"])
    (entry,) = entries(root)
    entry.write_bytes(b"cut short")
    compile_cache._seal(entry.parent)
    np.testing.assert_array_equal(answers(bundles["clip"]), first)
    assert not entry.exists()
    answers(bundles["clip"])
    assert entry.exists()


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_folder_that_others_may_write_to_is_not_used(root, bundles, capfd):
    (root / "compiled").mkdir(parents=True)
    (root / "compiled").chmod(0o777)
    answers(bundles["clip"])
    assert not entries(root)
    line = capfd.readouterr().err.strip()
    assert "others may write there" in line and "JAXFACS_CACHE" in line and "\n" not in line


def test_no_folder_no_matter(tmp_path, monkeypatch, bundles):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("JAXFACS_CACHE", str(tmp_path / "file"))
    assert answers(bundles["clip"]).shape == (2, 4)
    monkeypatch.setenv("JAXFACS_CACHE", "off")
    assert answers(bundles["clip"]).shape == (2, 4)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_an_error_of_the_network_is_told_as_it_is(root, bundles):
    network = compiled.network(bundle.read(bundles["clip"]))
    with pytest.raises(ValueError, match=r"[Ss]hape|dimension"):
        network(CLIPS[:, :, :5])


def test_the_oldest_bundles_go_first(root, bundles, monkeypatch):
    for age, name in enumerate(("old", "older")):
        folder = root / "compiled" / name
        folder.mkdir(parents=True)
        (folder / "x-cache").write_bytes(bytes(1000))
        os.utime(folder, (1e9 - age, 1e9 - age))
    (root / "compiled").chmod(0o700)
    answers(bundles["clip"])
    (own,) = (entry.parent for entry in entries(root) if entry.name != "x-cache")
    monkeypatch.setattr(compile_cache, "MOST_BYTES", compile_cache._bytes(own) + 1000)
    answers(bundles["clip"])
    assert sorted(p.name for p in (root / "compiled").iterdir() if "old" in p.name) == ["old"]
    monkeypatch.setattr(compile_cache, "MOST_BYTES", 0)
    answers(bundles["clip"])
    assert len(entries(root)) == 1  # its own is never taken away


def test_places(tmp_path, monkeypatch):
    monkeypatch.delenv("JAXFACS_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    mine = jax.config.jax_compilation_cache_dir
    try:
        jax.config.update("jax_compilation_cache_dir", None)
        assert compile_cache.place("a" * 64) == tmp_path / "jaxfacs" / "compiled" / ("a" * 24)
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        assert compile_cache.place("b").is_relative_to(tmp_path / "home" / ".cache" / "jaxfacs")
        jax.config.update("jax_compilation_cache_dir", "/somewhere")  # JAX's own is kept to
        assert compile_cache.place("b") is None
    finally:
        jax.config.update("jax_compilation_cache_dir", mine)
