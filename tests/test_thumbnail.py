"""What the thumbnail promises: sizes, averages in linear light, and that bands make the same one as the whole."""

import numpy as np
import pytest
from numpy.typing import NDArray

from mirnet.exposure import to_encoded, to_linear
from mirnet.thumbnail import ThumbnailBuilder, area_weights, make_thumbnail, thumbnail_size


def picture(height: int, width: int) -> NDArray[np.float32]:
    return np.random.default_rng(height * width).random((height, width, 3), dtype=np.float32)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((400, 600), (64, 96)),
        ((600, 400), (96, 64)),
        ((500, 500), (96, 96)),
        ((1080, 1920), (56, 96)),
        ((3024, 4032), (72, 96)),
        ((1, 5000), (8, 96)),
        ((1, 1), (96, 96)),
        ((30, 20), (96, 64)),
    ],
)
def test_the_long_side_is_96_and_the_other_in_proportion_a_multiple_of_8(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert thumbnail_size(*size) == expected


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (7, 5), (97, 131), (40, 400)])
def test_a_picture_of_any_size_has_a_thumbnail_of_that_size(size: tuple[int, int]) -> None:
    small = make_thumbnail(picture(*size))
    assert small.shape == (*thumbnail_size(*size), 3)
    assert small.dtype == np.float32
    assert small.min() >= 0
    assert small.max() <= 1


@pytest.mark.parametrize("factor", [1, 2, 5])
def test_whole_factors_are_plain_averages_of_linear_light(factor: int) -> None:
    large = picture(64 * factor, 96 * factor)
    light = to_linear(large.astype(np.float64)).reshape(64, factor, 96, factor, 3).mean((1, 3))
    assert np.abs(make_thumbnail(large) - to_encoded(light)).max() <= 1e-6


def test_noise_is_averaged_in_linear_light_not_in_encoded_values() -> None:
    checkered = np.zeros((192, 192, 3), dtype=np.float32)
    checkered[::2, ::2] = checkered[1::2, 1::2] = 1
    assert np.allclose(make_thumbnail(checkered), 0.735357, atol=1e-5)  # half the light of white, not half its value


@pytest.mark.parametrize("size", [(150, 217), (7, 11), (301, 100)])
def test_an_even_picture_has_an_even_thumbnail_and_no_light_is_lost(size: tuple[int, int]) -> None:
    even = np.full((*size, 3), 0.3, dtype=np.float32)
    assert np.allclose(make_thumbnail(even), 0.3, atol=1e-6)
    any_picture = picture(*size)
    light = [float(to_linear(x.astype(np.float64)).mean()) for x in (any_picture, make_thumbnail(any_picture))]
    assert light[0] == pytest.approx(light[1], rel=1e-5)


@pytest.mark.parametrize("rows", [1, 3, 16, 100])
def test_bands_make_the_same_thumbnail_as_the_whole(rows: int) -> None:
    whole = picture(130, 97)
    builder = ThumbnailBuilder(130, 97)
    for top in range(0, 130, rows):
        builder.add(top, whole[top : top + rows])
    assert np.abs(builder.finish() - make_thumbnail(whole)).max() <= 1e-6


def test_the_columns_of_a_very_wide_picture_are_taken_in_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = picture(13, 970)
    in_one_go = make_thumbnail(whole)
    monkeypatch.setattr("mirnet.thumbnail.STRETCH_PX", 64)
    assert np.abs(make_thumbnail(whole) - in_one_go).max() <= 1e-6


def test_bands_may_come_in_any_order() -> None:
    whole = picture(130, 97)
    builder = ThumbnailBuilder(130, 97)
    for top in np.random.default_rng(0).permutation(np.arange(0, 130, 10)):
        builder.add(int(top), whole[top : top + 10])
    assert np.abs(builder.finish() - make_thumbnail(whole)).max() <= 1e-6


@pytest.mark.parametrize(("source", "target"), [(10, 5), (7, 3), (3, 7), (1, 96), (96, 96), (1000, 96)])
def test_area_weights_cover_the_source_evenly(source: int, target: int) -> None:
    weights = area_weights(source, target).astype(np.float64)
    assert weights.shape == (target, source)
    assert weights.min() >= 0
    assert np.allclose(weights.sum(1), 1, atol=1e-6)
    assert np.allclose(weights.sum(0), target / source, atol=1e-5)


def test_area_weights_split_a_pixel_on_a_border() -> None:
    assert np.allclose(area_weights(3, 2), [[2 / 3, 1 / 3, 0], [0, 1 / 3, 2 / 3]], atol=1e-7)
