"""Packed flow comes back within its 8 bits, and stacks as the network's own flow does."""

import cv2
import numpy as np
import pytest

from jaxfacs.data import flow

SIZE, T = 48, 14


@pytest.fixture(scope="module")
def recording() -> np.ndarray:
    """T frames of a smooth picture that moves by whole pixels, (2, 1) a frame, then stops."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (20, 20, 3), np.uint8)
    wide = cv2.resize(coarse, (SIZE + 40, SIZE + 40), interpolation=cv2.INTER_CUBIC)
    at = [min(t, T - 3) for t in range(T)]
    return np.stack([wide[20 - t : 20 - t + SIZE, 40 - 2 * t :][:, :SIZE] for t in at])


@pytest.fixture(scope="module")
def packed(recording) -> list[tuple[bytes, float]]:
    return list(flow.fields(iter(recording)))


def test_one_field_between_two_frames(packed):
    assert len(packed) == T - 1
    level = cv2.imdecode(np.frombuffer(packed[0][0], np.uint8), cv2.IMREAD_UNCHANGED)
    assert level.shape == (SIZE, 2 * SIZE) and level.dtype == np.uint8


def test_a_picture_that_moves_has_that_flow(packed):
    inner = flow.unpack(*packed[3])[12:-12, 12:-12]
    np.testing.assert_allclose(np.median(inner, (0, 1)), [2, 1], atol=0.15)


def test_a_still_field_has_no_scale():
    png, scale = flow.pack(np.zeros((SIZE, SIZE, 2), np.float32))
    assert scale == 0 and not flow.unpack(png, scale).any() and (png, scale) == flow.still(SIZE)


def test_values_come_back_within_half_a_step(recording, packed):
    greys = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in recording]
    for k in (0, 5):
        true = flow.farneback(greys[k], greys[k + 1])
        scale = packed[k][1]
        assert scale == pytest.approx(np.abs(true).max(), rel=1e-6)
        assert np.abs(flow.unpack(*packed[k]) - true).max() <= scale / 254 * 1.001


def test_a_clip_carries_five_fields_before_and_four_after(packed):
    whole, scale_F = flow.of_clip(packed, 0, T)
    assert len(whole) == T + 9 and scale_F.dtype == np.float32 and scale_F.shape == (T + 9,)
    border = flow.still(SIZE)[0]
    assert whole[:5] == [border] * 5 and whole[-5:] == [border] * 5 and not scale_F[:5].any()
    assert whole[5:-5] == [png for png, _ in packed]


def test_a_border_within_the_recording_has_its_real_neighbours(packed):
    whole, _ = flow.of_clip(packed, 0, T)
    for first, length in ((0, 3), (6, 2), (T - 1, 1), (4, 1)):
        part, scale_F = flow.of_clip(packed, first, length)
        assert part == whole[first : first + length + 9] and len(scale_F) == length + 9


@pytest.mark.parametrize(("first", "length"), [(-1, 3), (0, 0), (T - 1, 2), (T, 1)])
def test_a_clip_outside_its_recording_is_refused(packed, first, length):
    with pytest.raises(ValueError, match=f"of {T}"):
        flow.of_clip(packed, first, length)


def test_a_single_picture_has_still_flow_all_around():
    part, scale_F = flow.of_clip([], 0, 1, size=16)
    assert part == [flow.still(16)[0]] * 10 and not scale_F.any()
    with pytest.raises(ValueError, match="size"):
        flow.of_clip([], 0, 1)


@pytest.mark.parametrize("png", [b"", b"nothing", flow.still(16)[0][:40]])
def test_what_is_no_field_is_refused(png):
    with pytest.raises(ValueError, match="does not decode"):
        flow.unpack(png, 1.0)


def test_a_picture_of_another_form_is_no_field():
    square = cv2.imencode(".png", np.zeros((16, 16), np.uint8))[1].tobytes()
    with pytest.raises(ValueError, match="does not decode"):
        flow.unpack(square, 1.0)


@pytest.mark.parametrize("components", flow.COMPONENTS)
@pytest.mark.parametrize("limit", [20.0, 1.5])
def test_stacks_are_those_the_network_makes_itself(recording, packed, components, limit):
    """The same channels in the same order; apart by half a step, and the network's own 2e-3."""
    from jaxfacs.models.flow_input import FlowStack, flow_stack

    mean, std = (127.5,) * 3, (64.0,) * 3
    x_BTHWC = ((recording - np.float32(127.5)) / np.float32(64))[None]
    own = np.asarray(flow_stack(x_BTHWC, FlowStack(components, limit=limit), mean=mean, std=std)[0])
    pngs, scale_F = flow.of_clip(packed, 0, T)
    fields_FHW2 = np.stack([flow.unpack(*pair) for pair in zip(pngs, scale_F, strict=True)])
    found = flow.stacks(fields_FHW2, np.arange(T), components=components, limit=limit)
    assert found.shape == own.shape and found.dtype == np.float16
    step = scale_F.max() / 254 / limit * (2**0.5 if components == "magnitude" else 1)
    difference = np.abs(found.astype(np.float32) - own)
    assert difference.max() <= step + 2e-3 + 2**-11
    assert np.abs(own).max() > 50 * difference.mean()


def test_stacks_of_chosen_frames_are_rows_of_the_whole(packed):
    pngs, scale_F = flow.of_clip(packed, 0, T)
    fields_FHW2 = np.stack([flow.unpack(*pair) for pair in zip(pngs, scale_F, strict=True)])
    whole = flow.stacks(fields_FHW2, np.arange(T), components="xy", limit=3.0)
    places_T = np.array([3, 3, 9])
    part = flow.stacks(fields_FHW2, places_T, components="xy", limit=3.0)
    np.testing.assert_array_equal(part, whole[places_T])
