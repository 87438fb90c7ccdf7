"""A work directory in Google Cloud Storage, which a server on loopback stands in for."""

import importlib.util
import re
import subprocess

import faulty
import pytest
import stand_in_gcs
import tiny

if importlib.util.find_spec("gcsfs") is None:
    pytest.skip("gcsfs (extra remote) is not installed", allow_module_level=True)

pytestmark = pytest.mark.long


@pytest.fixture
def cloud():
    with stand_in_gcs.serving() as (store, environment):
        yield store, environment


def finish(command: list[str], environment: dict[str, str]) -> tuple[int, str]:
    done = subprocess.run(
        command,
        env=tiny.environment(**environment),
        cwd=tiny.REPOSITORY,
        capture_output=True,
        text=True,
        timeout=240,
    )
    return done.returncode, done.stdout + done.stderr


def train(config_path, environment, fault: str = "", *more: object) -> tuple[int, str]:
    words = ["train", config_path, "--workdir", "gs://bucket/run", *more]
    return faulty.finish(faulty.start(fault, *words, **environment), timeout=240)


def download(store: stand_in_gcs.Store, folder) -> None:
    for name, (data, _) in store.objects.items():
        if "/compiled/" not in name and not name.endswith("/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)


def test_killed_it_goes_on_and_ends_as_the_straight_run(cloud, config_path, straight, tmp_path):
    store, environment = cloud
    code, said = train(config_path, environment, "step:33:kill")
    assert code == 137, said
    code, said = train(config_path, environment)
    assert code == 0 and "Traceback" not in said, said
    assert re.search("resumed from the checkpoint of step [123]0", said), said
    download(store, tmp_path)
    faulty.assert_ends_as(straight, tmp_path / "run")
    steps = {name.split("/")[2] for name in store.objects if name.startswith("run/checkpoints/")}
    assert {"50", "60"} <= steps and len(steps) <= 3

    code, said = finish(tiny.command("evaluate", "--workdir", "gs://bucket/run"), environment)
    assert code == 0 and "mean AP" in said, said
    assert any(name.endswith("/report.json") for name in store.objects)
    code, said = finish(tiny.command("runs", "gs://bucket/run"), environment)
    assert code == 0 and "60/60" in said and "yes" in said, said


def test_killed_in_a_save_and_a_flipped_bit(cloud, config_path, straight, tmp_path):
    store, environment = cloud
    code, said = train(config_path, environment, "checkpoint:4:kill+0.05")
    assert code == 137, said
    code, said = train(config_path, environment)
    assert code == 0, said
    name = max(
        (n for n in store.objects if n.startswith("run/checkpoints/60/network/") and "/d/" in n),
        key=lambda n: len(store.objects[n][0]),
    )
    data = bytearray(store.objects[name][0])
    data[len(data) // 2] ^= 0x10
    store.put(name, bytes(data))
    code, said = train(config_path, environment)
    assert code == 0 and "checkpoints/60 is damaged" in said, said
    assert "resumed from the checkpoint of step 50" in said
    assert any(name.startswith("run/damaged/60-0/") for name in store.objects)
    download(store, tmp_path)
    faulty.assert_ends_as(straight, tmp_path / "run")


def test_a_server_that_fails_for_a_while(cloud, config_path, straight, tmp_path):
    store, environment = cloud
    store.failures = 3
    code, said = train(config_path, environment)
    assert code == 0 and "Traceback" not in said and store.failures == 0, said
    download(store, tmp_path)
    faulty.assert_ends_as(straight, tmp_path / "run")


def test_s3_is_refused(config_path, tmp_path):
    code, said = finish(tiny.command("train", config_path, "--workdir", "s3://bucket/run"), {})
    assert code == 2 and "is in S3, where Orbax" in said and said.count("\n") == 1, said
