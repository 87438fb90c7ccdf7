"""launch/Dockerfile and gpu.env: what they name exists, and their steps run."""

import os
import subprocess
import sys
from pathlib import Path

import dockerfile_steps
import pytest

LAUNCH = Path(__file__).parents[2] / "launch"
TEXT = (LAUNCH / "Dockerfile").read_text()
STEPS = dockerfile_steps.instructions(TEXT)


def test_what_is_copied_exists_and_travels_to_the_daemon():
    ignored = (LAUNCH / "Dockerfile.dockerignore").read_text().splitlines()
    for keyword, rest in STEPS:
        if keyword == "COPY":
            for source in rest.split()[:-1]:
                assert (LAUNCH.parent / source).exists() and f"!{source}" in ignored


def test_the_base_is_pinned_and_the_user_is_not_root():
    (base,) = [rest for keyword, rest in STEPS if keyword == "FROM"]
    version = base.partition(":")[2].partition("-")[0]
    assert version.count(".") == 2 and version.startswith("3.11."), base
    assert [rest for keyword, rest in STEPS if keyword == "USER"] == ["1000"]
    assert any(rest.startswith("pip install --constraint requirements.lock") for _, rest in STEPS)


def test_continued_lines_and_comments_are_read_as_docker_reads_them():
    text = "FROM a\n# no\nRUN one \\\n  # no\n  && two\nCOPY a b ./\n"
    found = dockerfile_steps.instructions(text)
    assert [(keyword, " ".join(rest.split())) for keyword, rest in found] == [
        ("FROM", "a"), ("RUN", "one && two"), ("COPY", "a b ./"),
    ]  # fmt: skip


def test_steps_run_in_order_and_the_first_failure_ends_them(tmp_path, capfd):
    text = "ARG WORD=none\nRUN useradd x\nRUN echo $WORD > word\nRUN exit 7\nRUN touch after"
    assert dockerfile_steps.run(tmp_path / "image", text, {"WORD": "given"}, pip=False) == 7
    assert (tmp_path / "image" / "word").read_text() == "given\n"
    assert not (tmp_path / "image" / "after").exists()
    assert "RUN useradd x\n  left out" in capfd.readouterr().out


@pytest.mark.slow
@pytest.mark.timeout(1800)  # 100 s alone, 430 s beside three busy processes on two cores
@pytest.mark.skipif(
    "JAXFACS_TEST_IMAGE" not in os.environ,
    reason="installs everything anew, in minutes and over the network: make test-launch",
)
def test_the_image_without_cuda_trains(tmp_path):
    """What the steps made, from outside the checkout: locked versions, and a few steps."""
    image = tmp_path / "image"
    assert dockerfile_steps.run(image, TEXT, {"EXTRAS": "tensorboard"}) == 0
    locked = (LAUNCH.parent / "requirements.lock").read_text().lower()
    for line in (image / "installed.txt").read_text().lower().replace("_", "-").splitlines():
        assert line in locked, line
    environment = {"PATH": f"{image}/.venv/bin:{os.environ['PATH']}", "JAX_PLATFORMS": "cpu"}
    environment |= {"JAXFACS_STARTED": str(tmp_path / "started"), "HOME": str(tmp_path)}

    def inside(*words: str) -> None:
        command = [str(image / "launch" / "entrypoint.sh"), "jaxfacs", *words]
        finished = subprocess.run(
            command, cwd=image, env=environment, capture_output=True, text=True
        )
        assert finished.returncode == 0, finished.stderr

    records, run = str(tmp_path / "records"), str(tmp_path / "run")
    inside("data", "build", "synthface", "--out", records, "--clips", "30", "--size", "32")
    config = ("configs/mobilenet3d_synthface.py", "--smoke", "--data.source", records)
    inside("train", *config, "--workdir", run)


def sourced(**environment: str) -> dict[str, str]:
    """The environment after gpu.env, as plain sh reads it."""
    finished = subprocess.run(
        ["sh", "-euc", f". {LAUNCH / 'gpu.env'} && env"],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(line.split("=", 1) for line in finished.stdout.splitlines())


def test_what_the_user_set_wins_over_the_gpu_settings():
    plain = sourced(JAXFACS_GPU_ENV="1")
    assert plain["XLA_CLIENT_MEM_FRACTION"] == "0.9" and plain["NCCL_DEBUG"] == "WARN"
    own = sourced(
        JAXFACS_GPU_ENV="1", XLA_FLAGS="--mine", NCCL_DEBUG="INFO", XLA_CLIENT_MEM_FRACTION="0.4"
    )
    assert own["XLA_FLAGS"].endswith(" --mine")  # of two equal flags XLA takes the last
    assert (own["NCCL_DEBUG"], own["XLA_CLIENT_MEM_FRACTION"]) == ("INFO", "0.4")
    # jaxlib refuses to start where the old and the new name are both set.
    old = sourced(JAXFACS_GPU_ENV="1", XLA_PYTHON_CLIENT_MEM_FRACTION="0.4")
    assert "XLA_CLIENT_MEM_FRACTION" not in old


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="there is a GPU here")
def test_without_a_gpu_nothing_is_set():
    assert not {"XLA_FLAGS", "XLA_CLIENT_MEM_FRACTION", "NCCL_DEBUG"} & sourced().keys()


def test_the_installed_jaxlib_knows_every_flag():
    """It ends the process over one that it does not know, so a test of a wrong one fails."""
    program = "import jax; jax.config.update('jax_platforms', 'cpu'); jax.devices()"
    ours = sourced(JAXFACS_GPU_ENV="1")["XLA_FLAGS"]
    for flags, known in ((ours, True), (f"{ours} --xla_gpu_no_such_flag=1", False)):
        finished = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "XLA_FLAGS": flags},
            capture_output=True,
            text=True,
        )
        assert (finished.returncode == 0) == known, finished.stderr
