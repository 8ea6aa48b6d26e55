"""Spoilt images: what is stable, what grows, and a few kinds against another way to compute them."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.colors import hsv_to_rgb, rgb_to_hsv
from PIL import Image
from scipy import ndimage

from retain.data.corruptions import CORRUPTIONS, SEVERITIES, as_rgb, corrupt, generator_for
from retain.errors import InputError

KINDS = tuple(CORRUPTIONS)


def scene(size=96, seed=0):
    """Smooth colours with a sharp disc and stripes: what a photograph has."""
    rng = np.random.default_rng(seed)
    smooth = np.stack([ndimage.gaussian_filter(rng.normal(size=(size, size)), size / 12) for _ in range(3)], axis=2)
    picture = 0.45 + 0.15 * smooth / smooth.std()
    rows, columns = np.indices((size, size)) / size
    picture[(rows - 0.4) ** 2 + (columns - 0.6) ** 2 < 0.04] = (0.8, 0.3, 0.1)
    picture[(rows > 0.7) & ((columns + 0.37 * rows) * 11.3 % 2 < 1)] *= 0.5
    return np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)


def spoil(picture, kind, severity, seed=0):
    return corrupt(picture, kind, severity, generator_for(seed, "scene", kind, severity))


def distance(one, other):
    return np.sqrt(np.mean((one.astype(float) - other.astype(float)) ** 2))


def test_at_least_ten_kinds():
    assert len(KINDS) >= 10


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_stays_a_picture_and_the_original_stays_untouched(kind):
    picture = scene()[:64, :80]
    before = picture.copy()
    spoilt = spoil(picture, kind, 3)
    assert (spoilt.shape, spoilt.dtype) == (picture.shape, np.uint8)
    np.testing.assert_array_equal(picture, before)
    assert not np.shares_memory(spoilt, picture)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_key_gives_the_same_picture(kind):
    picture = scene()
    np.testing.assert_array_equal(spoil(picture, kind, 2), spoil(picture, kind, 2))


@pytest.mark.parametrize("kind", KINDS)
def test_each_severity_is_further_from_the_original(kind):
    picture = scene()
    for seed in range(3):
        far = [distance(picture, corrupt(picture, kind, s, np.random.default_rng(seed))) for s in SEVERITIES]
        assert far[0] > 0.5
        assert np.all(np.diff(far) > 0), far


@pytest.mark.parametrize("kind", ["gaussian_noise", "motion_blur", "fog", "elastic_transform"])
def test_another_seed_gives_another_picture(kind):
    picture = scene()
    assert distance(spoil(picture, kind, 3, seed=0), spoil(picture, kind, 3, seed=1)) > 0


def test_every_part_of_the_key_counts():
    keys = [(0, "a", "fog", 1), (1, "a", "fog", 1), (0, "b", "fog", 1), (0, "a", "contrast", 1), (0, "a", "fog", 2)]
    assert len({generator_for(*key).integers(2**63) for key in keys}) == len(keys)
    # Written down once: a key must mean the same draws on every machine and in every version.
    assert generator_for(0, "a", "fog", 1).integers(1000, size=4).tolist() == [517, 53, 943, 796]


def test_noise_has_the_spread_of_the_paper():
    grey = np.full((128, 128, 3), 128, dtype=np.uint8)
    assert (spoil(grey, "gaussian_noise", 2) / 255).std() == pytest.approx(0.12, rel=0.02)
    # Poisson of mean m = 12·128/255 scaled by 1/12: standard deviation √m/12.
    assert (spoil(grey, "shot_noise", 1) / 255).std() == pytest.approx(np.sqrt(60 * 128 / 255) / 60, rel=0.02)
    spoilt = spoil(grey, "impulse_noise", 5)
    assert np.mean(spoilt == 0) == pytest.approx(0.135, abs=0.01)
    assert np.mean(spoilt == 255) == pytest.approx(0.135, abs=0.01)


def test_a_point_out_of_focus_is_a_disc():
    picture = np.zeros((224, 224, 3), dtype=np.uint8)
    picture[112, 112] = 255
    picture[100:125, 100:125, 1] = 255  # a bright square keeps rounding small
    spoilt = spoil(picture, "defocus_blur", 5)[:, :, 1] / 255
    rows, columns = np.indices((224, 224))
    disc = ((np.arange(-10, 11)[:, None] ** 2 + np.arange(-10, 11) ** 2) <= 10.2**2).astype(float)
    expected = ndimage.convolve((picture[:, :, 1] / 255), disc / disc.sum(), mode="reflect")
    assert np.abs(spoilt - expected).max() < 0.02
    assert spoilt[(rows - 112) ** 2 + (columns - 112) ** 2 > 30**2].max() == 0


def test_blurs_scale_with_the_picture():
    large = scene(192)
    small = np.asarray(Image.fromarray(large).resize((96, 96), Image.Resampling.BOX))
    for kind in ("defocus_blur", "zoom_blur"):
        shrunk = np.asarray(Image.fromarray(spoil(large, kind, 5)).resize((96, 96), Image.Resampling.BOX))
        assert distance(shrunk, spoil(small, kind, 5)) < 0.25 * distance(shrunk, small)


def test_motion_blurs_along_one_line():
    picture = np.zeros((224, 224, 3), dtype=np.uint8)
    picture[110:114, 110:114] = 255
    spoilt = spoil(picture, "motion_blur", 3)[:, :, 0].astype(float)
    rows, columns = np.nonzero(spoilt > 2)
    spread = np.linalg.eigvalsh(np.cov(rows, columns))
    assert spread[1] > 4 * spread[0]


def test_brightness_and_saturation_against_matplotlib():
    x = scene() / 255
    hsv = rgb_to_hsv(x)
    brighter, fuller = hsv.copy(), hsv.copy()
    brighter[..., 2] = np.minimum(hsv[..., 2] + 0.3, 1)
    fuller[..., 1] = np.minimum(hsv[..., 1] * 5 + 0.1, 1)
    coloured = hsv[..., 1] > 0
    for kind, severity, expected in (("brightness", 3, brighter), ("saturate", 4, fuller)):
        found = spoil(scene(), kind, severity).astype(float)
        assert np.abs(found - 255 * hsv_to_rgb(expected))[coloured].max() <= 0.5 + 1e-6


def test_black_gets_brighter_and_grey_stays_grey():
    black, grey = np.zeros((16, 16, 3), dtype=np.uint8), np.full((16, 16, 3), 90, dtype=np.uint8)
    assert (spoil(black, "brightness", 5) == 128).all()
    assert (spoil(grey, "saturate", 5) == 90).all()
    assert (spoil(black, "saturate", 5) == 0).all()


def test_contrast_by_hand():
    picture = np.zeros((16, 16, 3), dtype=np.uint8)
    picture[:8] = 200
    spoilt = spoil(picture, "contrast", 1)
    assert set(spoilt.ravel()) == {60, 140}  # mean 100, ± 0.4 · 100


def test_pixels_of_whole_size_are_means_of_blocks():
    picture = scene(64)
    spoilt = spoil(picture, "pixelate", 5)
    blocks = picture.reshape(16, 4, 16, 4, 3).mean(axis=(1, 3))
    assert np.abs(spoilt - np.repeat(np.repeat(blocks, 4, 0), 4, 1)).max() <= 0.5 + 1e-6


def test_jpeg_is_that_of_pillow():
    file = io.BytesIO()
    Image.fromarray(scene()).save(file, "JPEG", quality=7)
    np.testing.assert_array_equal(spoil(scene(), "jpeg_compression", 5), np.asarray(Image.open(file)))


def test_elastic_moves_by_the_share_it_says():
    size = 128
    ramp = np.repeat(np.rint(np.linspace(0, 255, size)).astype(np.uint8)[None, :, None], 3, axis=2)
    ramp = np.ascontiguousarray(np.broadcast_to(ramp, (size, size, 3)))
    moved = (spoil(ramp, "elastic_transform", 3).astype(float) - ramp)[:, 16:-16, 0] * (size - 1) / 255 / size
    assert np.sqrt(np.mean(moved**2)) == pytest.approx(0.015, rel=0.25)


def test_fog_hides_and_keeps_the_brightest():
    picture = scene()
    spoilt = spoil(picture, "fog", 5) / 255
    x = picture / 255
    # (x + 3c)·m/(m + 3) with a cloud c in [0, 1] that is the same for the three channels.
    cloud = (spoilt * (x.max() + 3) / x.max() - x) / 3
    assert np.abs(cloud - cloud.mean(axis=2, keepdims=True)).max() < 0.02
    assert cloud.min() == pytest.approx(0, abs=0.02)
    assert cloud.max() == pytest.approx(1, abs=0.02)


def test_grey_and_transparent_pictures_are_converted():
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for form in (grey, grey[:, :, None]):
        converted = as_rgb(form)
        assert (converted == grey[:, :, None]).all()
        assert corrupt(converted, "contrast", 1, np.random.default_rng(0)).shape == (16, 16, 3)
    colours = scene(16)
    rng = np.random.default_rng(1)
    layered = np.dstack([colours, rng.integers(256, size=(16, 16))]).astype(np.uint8)
    white = Image.new("RGBA", (16, 16), "white")
    expected = np.asarray(Image.alpha_composite(white, Image.fromarray(layered)))[:, :, :3]
    assert np.abs(as_rgb(layered).astype(int) - expected).max() <= 1
    same = as_rgb(colours)
    np.testing.assert_array_equal(same, colours)
    assert not np.shares_memory(same, colours)


def test_what_cannot_be_spoilt_is_told_at_once():
    with pytest.raises(InputError) as caught:
        corrupt(np.zeros((16, 16), dtype=np.uint8), "rain", 6, np.random.default_rng(0))
    assert len(caught.value.problems) == 3
    assert "choose from gaussian_noise" in str(caught.value)
    assert "1 (slight) to 5 (strong)" in str(caught.value)
    assert "as_rgb" in str(caught.value)
    for wrong in (np.zeros((16, 16, 4), np.uint8), np.zeros((16, 16, 3)), np.zeros((15, 40, 3), np.uint8)):
        with pytest.raises(InputError, match="an image"):
            corrupt(wrong, "fog", 1, np.random.default_rng(0))
    for wrong in (np.zeros((16, 16, 2), np.uint8), np.zeros((16, 16, 3)), np.zeros(16, np.uint8)):
        with pytest.raises(InputError, match="decode it with Pillow"):
            as_rgb(wrong)
