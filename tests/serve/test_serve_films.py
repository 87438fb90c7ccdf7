"""Films: sent, read, asked about, cancelled; and nothing of them stays."""

import csv
import io
import struct
import threading
import time

import cv2
import numpy as np
import pytest
from loopback import finished, wait_until

from jaxfacs.errors import UserError
from jaxfacs.infer.sources import source as sources
from jaxfacs.serve import films, jobs, uploads
from jaxfacs.serve.jobs import Jobs
from jaxfacs.serve.limits import Limits
from jaxfacs.serve.metrics import Metrics
from jaxfacs.serve.workplace import Workplace, remove_dead


@pytest.fixture
def held(monkeypatch):
    """Films wait at their first frame until the event is set."""
    may_go = threading.Event()
    read = films.read

    def reading(*args, on_frame, **options):
        while not may_go.wait(0.01):
            on_frame(0, None)
        return read(*args, on_frame=on_frame, **options)

    monkeypatch.setattr(films, "read", reading)
    yield may_go
    may_go.set()


def films_in(folder):
    """What lies in the server's folder besides its lock."""
    return [p for p in folder.rglob("*") if p.is_file() and p.name != "lock"]


def test_a_film_gives_the_same_numbers_as_at_home(served, predictor, film, folder, tmp_path):
    client = served()
    job = finished(client, client.post("/v1/films?name=x", content=film))
    assert job["state"] == "done" and job["frames"] == 12 and job["error"] is None
    results = client.get(f"/v1/jobs/{job['id']}/results").json()
    path = tmp_path / "x.avi"
    path.write_bytes(film)
    own = list(predictor.read(sources.find([str(path)])[0]))
    assert len(results["frames"]) == len(own) == 12
    for there, here in zip(results["frames"], own, strict=True):
        assert there["frame"] == here.frame
        assert there["timestamp"] == pytest.approx(here.timestamp, abs=1e-4)
        assert len(there["faces"]) == len(here.faces) == 1
        face, home = there["faces"][0], here.faces[0]
        # As far as decimals go: another batch may round the last one the other way.
        np.testing.assert_allclose(face["p"], home.probability_A, atol=1.01e-4)
        np.testing.assert_allclose(face["r"], home.intensity_A, atol=1.01e-2)
        np.testing.assert_allclose(face["emotions"], home.emotion_E, atol=1.01e-3)
        assert face["c"] == home.present_A.astype(int).tolist()
        assert face["why"]["emotion"] in results["emotions"]
    assert results["width"] == results["height"] == 240
    assert results["fps"] == 20
    assert results["duration_s"] == pytest.approx(11 / 20)
    shares = {au["label"]: au["share_present"] for au in results["summary"]["aus"]}
    present = np.mean([r.faces[0].present_A for r in own], axis=0)
    np.testing.assert_allclose([shares[au] for au in predictor.aus], present, atol=1e-3)
    assert films_in(folder) == []


def test_the_table_can_be_downloaded(served, film):
    client = served()
    job = finished(client, client.post("/v1/films", content=film))
    for headers in ({}, {"Accept-Encoding": "identity"}):
        answer = client.get(f"/v1/jobs/{job['id']}/results?format=csv", headers=headers)
        assert answer.headers["content-type"].startswith("text/csv")
        assert answer.headers["content-disposition"].startswith("attachment")
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        assert [r["frame"] for r in rows] == [str(n) for n in range(1, 13)]
        assert {"AU12_r", "AU12_c", "success"} <= set(rows[0])
    assert client.get(f"/v1/jobs/{job['id']}/results?format=exe").status_code == 400


def test_every_nth_frame_of_a_film(served, film):
    client = served()
    job = finished(client, client.post("/v1/films?every=3&baseline=first:0.1", content=film))
    results = client.get(f"/v1/jobs/{job['id']}/results").json()
    assert [f["frame"] for f in results["frames"]] == [1, 4, 7, 10]


def test_a_picture_is_a_film_of_one_frame(served, jpegs, folder):
    client = served()
    job = finished(client, client.post("/v1/films", content=jpegs[0]))
    assert job["state"] == "done" and job["frames"] == 1
    assert films_in(folder) == []


@pytest.mark.parametrize(
    "kind", ["cut", "noise", "no frames", "bomb", "png bomb", "long", "middle"], ids=str
)
def test_a_damaged_film_is_named_in_one_line(served, film, jpegs, folder, kind):
    at = jpegs[0].index(b"\xff\xc0") + 5
    png = cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))[1].tobytes()
    content = {
        "cut": film[:700],
        "noise": b"\0\0\0\x18ftypmp42" + np.random.default_rng(0).bytes(5000),
        "no frames": b"\x1a\x45\xdf\xa3" + b"\0" * 600,
        "bomb": jpegs[0][:at] + struct.pack(">HH", 65000, 65000) + jpegs[0][at + 4 :],
        "png bomb": png[:16] + struct.pack(">II", 100_000, 100_000) + png[24:],
        "long": jpegs[0][:at] + struct.pack(">HH", 100, 60_000) + jpegs[0][at + 4 :],
        "middle": film[:4000] + bytes(len(film) - 4000),
    }[kind]
    client = served()
    job = finished(client, client.post("/v1/films", content=content))
    if kind != "middle":  # of which some frames decode
        assert job["state"] == "failed"
        assert "\n" not in job["error"] and str(folder) not in job["error"]
        assert ";" in job["error"]  # what is wrong; the remedy
        answer = client.get(f"/v1/jobs/{job['id']}/results")
        assert (answer.status_code, answer.json()["error"]) == (409, job["error"])
    assert films_in(folder) == []
    assert finished(client, client.post("/v1/films", content=film))["state"] == "done"


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"", {}, 400),
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n/etc/passwd\n", {}, 415),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", {}, 415),
        (b"hello" * 1000, {}, 415),
        (b"--x\r\nContent-Disposition: form-data", {"Content-Type": "multipart/form-data"}, 415),
        (b"\xff\xd8\xff" + b"0" * 300_000, {}, 413),
    ],
)
def test_what_is_no_film_is_refused(served, folder, content, headers, status):
    client = served(limits={"upload_bytes": 200_000})
    answer = client.post("/v1/films", content=content, headers=headers)
    assert answer.status_code == status
    assert "\n" not in answer.json()["error"]
    assert films_in(folder) == []


@pytest.mark.parametrize(
    ("limit", "error"),
    [
        ({"film_seconds": 0.2}, "longer than"),
        ({"film_frames": 5}, "longer than"),
        ({"film_pixels": 10_000}, "240x240"),
        ({"result_bytes": 200}, "results are larger"),
        ({"job_minutes": 1e-6}, "takes longer"),
    ],
    ids=lambda v: str(v)[:20],
)
def test_limits_of_films_are_told(served, film, folder, limit, error):
    client = served(limits=limit)
    job = finished(client, client.post("/v1/films", content=film))
    assert job["state"] == "failed" and error in job["error"]
    assert films_in(folder) == []


def test_a_client_has_so_many_films_under_way(served, film, held):
    client = served(limits={"jobs": 2})
    first = client.post("/v1/films", content=film)
    second = client.post("/v1/films", content=film)
    wait_until(lambda: client.get(first.json()["url"]).json()["state"] == "running")
    assert client.get(second.json()["url"]).json()["queue_place"] == 1
    refused = client.post("/v1/films", content=film)
    assert refused.status_code == 429 and "2 films" in refused.json()["error"]
    assert client.get(second.json()["url"] + "/results").status_code == 409
    client.delete(second.json()["url"])
    third = client.post("/v1/films", content=film)
    held.set()
    assert finished(client, first)["state"] == finished(client, third)["state"] == "done"


def test_a_cancelled_film_is_gone(served, film, folder, held):
    client = served()
    running = client.post("/v1/films", content=film)
    waiting = client.post("/v1/films", content=film)
    wait_until(lambda: client.get(running.json()["url"]).json()["state"] == "running")
    assert len(films_in(folder)) == 2
    for answer in (waiting, running):
        assert client.delete(answer.json()["url"]).json()["state"] == "cancelled"
        assert client.get(answer.json()["url"]).status_code == 404
        assert client.delete(answer.json()["url"]).status_code == 404
    wait_until(lambda: films_in(folder) == [])
    held.set()
    assert finished(client, client.post("/v1/films", content=film))["state"] == "done"


def test_a_stopping_server_takes_its_films_along(served, film, folder, held):
    client = served()
    client.post("/v1/films", content=film)
    client.post("/v1/films", content=film)
    wait_until(lambda: len(films_in(folder)) == 2)
    # The fixture stops the server while one film is read and one waits, and looks at the folder.


def test_a_film_of_another_token_is_not_there(served, film):
    tokens = ("token-of-the-first", "token-of-the-second")
    client = served(tokens=tokens)
    first, second = ({"Authorization": f"Bearer {t}"} for t in tokens)
    answer = client.post("/v1/films", content=film, headers=first)
    url = answer.json()["url"]
    assert client.get(url, headers=second).status_code == 404
    assert client.delete(url, headers=second).status_code == 404
    assert client.get(url, headers=first).status_code == 200


def test_films_stay_only_where_they_are_kept(served, film, folder, tmp_path):
    keep = tmp_path / "kept"
    client = served(keep=keep)
    job = finished(client, client.post("/v1/films?name=../../evil", content=film))
    assert job["state"] == "done"
    (kept,) = keep.iterdir()
    assert sorted(p.name for p in kept.iterdir()) == ["film.avi", "results.csv.gz"]
    assert (kept / "film.avi").read_bytes() == film
    assert films_in(folder) == []


def test_a_bug_in_a_film_ends_that_film_only(served, film, monkeypatch, capsys, folder):
    client = served()
    monkeypatch.setattr(films, "_read", lambda *a, **k: 1 / 0)
    job = finished(client, client.post("/v1/films", content=film))
    assert job["state"] == "failed" and "log" in job["error"] and "division" not in job["error"]
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert films_in(folder) == []
    monkeypatch.undo()
    assert finished(client, client.post("/v1/films", content=film))["state"] == "done"


def test_a_full_disk_is_told(served, film, folder, monkeypatch):
    client = served()
    monkeypatch.setattr(Workplace, "free_bytes", lambda self: 1 << 20)
    assert client.post("/v1/films", content=film).status_code == 507

    async def full(file, part):
        raise uploads.Refused(507, "the server cannot keep the film (No space left on device)")

    monkeypatch.undo()
    monkeypatch.setattr(uploads, "_to_disk", full)
    assert client.post("/v1/films", content=film).status_code == 507
    assert films_in(folder) == []


def test_results_go_after_a_while_and_the_oldest_first(tmp_path):
    limits = Limits(all_results=2, jobs=10)
    work = Workplace(tmp_path)
    made = Jobs(lambda *a: films.Result(b"", b""), workplace=work, limits=limits, metrics=Metrics())
    made.start()
    try:
        added = []
        for _ in range(4):
            film = work.new() / "film.avi"
            film.touch()
            added.append(made.add("a", film, films.Options()))
            wait_until(lambda: added[-1].state == jobs.DONE)
        assert [made.get(j.id) is not None for j in added] == [False, False, True, True]
        added[2].ended -= 60 * limits.result_minutes
        assert made.get(added[2].id) is None and made.get(added[3].id) is added[3]
        assert made.states()["done"] == 1
    finally:
        made.stop()
        work.close()
    assert list(tmp_path.iterdir()) == []


def test_clients_take_turns(tmp_path):
    begun, may_go = [], threading.Event()

    def read(job, on_frame):
        begun.append(job.client)
        may_go.wait(10)
        return films.Result(b"", b"")

    work = Workplace(tmp_path)
    made = Jobs(read, workplace=work, limits=Limits(jobs=9), metrics=Metrics())
    made.start()
    added = []
    for client in "aaaabbc":
        added.append(made.add(client, work.new() / "film.avi", films.Options()))
        wait_until(lambda: begun)
    assert [made.place(job) for job in added] == [None, 3, 5, 6, 1, 4, 2]
    may_go.set()
    wait_until(lambda: len(begun) == 7)
    assert begun == list("abcabaa")
    made.stop()
    work.close()


def test_a_failing_film_is_told_by_its_reason(tmp_path):
    def read(job, on_frame):
        raise UserError("the film is\nno film")

    work = Workplace(tmp_path)
    made = Jobs(read, workplace=work, limits=Limits(), metrics=Metrics())
    made.start()
    film = work.new() / "film.avi"
    job = made.add("a", film, films.Options())
    wait_until(lambda: job.state == jobs.FAILED)
    assert job.error == "the film is no film"
    made.stop()
    work.close()


def test_folders_of_dead_servers_are_removed(tmp_path):
    living, dying = Workplace(tmp_path), Workplace(tmp_path)
    (dying.new() / "film.avi").touch()
    (tmp_path / "jaxfacs-serve-link").symlink_to(tmp_path)
    young = tmp_path / "jaxfacs-serve-young"
    young.mkdir()
    import os

    os.close(dying._lock)  # as when its process was killed
    assert remove_dead(tmp_path) == 1
    assert not dying.folder.exists()
    assert living.folder.exists() and young.exists()
    assert remove_dead(tmp_path) == 0
    living.close()


def test_how_long_is_left_is_told():
    job = jobs.Job("a", None, films.Options(), state=jobs.RUNNING)  # type: ignore[arg-type]
    assert job.seconds_left() is None
    job.frames, job.total, job.started = 100, 300, time.monotonic() - 2
    assert job.seconds_left() == pytest.approx(4, abs=0.2)
