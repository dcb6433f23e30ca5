"""The laws of `expose`, with the bounds that hold in float32 and float64, and that both twins are one function."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from mirnet.exposure import Floats, expose, solve_stops, to_encoded, to_linear
from mirnet.network import lite

JOIN = 0.04045  # the standard's own constants miss each other there by 3e-8
STOPS = [-7.0, -2.5, -1.0, 0.0, 0.3, 1.0, 4.0, 7.0, 10.0]


def ramp(dtype: type[np.floating]) -> Floats:
    """Every shade from black to white, and many very dark ones, but for where the two pieces of sRGB are joined."""
    shades = np.concatenate([np.linspace(0, 1, 20_001), np.geomspace(1e-6, 1, 5_000)])
    return shades[np.abs(shades - JOIN) > 1e-7].astype(dtype)


def torch_expose(encoded: Floats, stops: float) -> Floats:
    result = lite.expose(torch.from_numpy(encoded), torch.tensor(stops, dtype=torch.from_numpy(encoded).dtype))
    return np.asarray(result.numpy())


def largest(difference: Floats) -> float:
    return float(np.abs(difference).max())


both_twins = pytest.mark.parametrize("change", [expose, torch_expose], ids=["numpy", "torch"])
both_types = pytest.mark.parametrize(("dtype", "bound"), [(np.float32, 2e-7), (np.float64, 4e-12)])

Change = Callable[[Floats, float], Floats]


@both_types
@both_twins
def test_no_stops_change_nothing(change: Change, dtype: type[np.floating], bound: float) -> None:
    x = ramp(dtype)
    assert change(x, 0.0).dtype == dtype
    assert largest(change(x, 0.0) - x) <= bound


@both_twins
@pytest.mark.parametrize(
    ("dtype", "stops", "bound"),
    [
        (np.float32, 2, 3e-6),
        (np.float32, 4, 4e-5),
        (np.float32, 7, 2e-3),
        (np.float64, 2, 4e-12),
        (np.float64, 7, 4e-12),
    ],
)
def test_brightening_and_coming_back_is_the_picture_again(
    change: Change, dtype: type[np.floating], stops: float, bound: float
) -> None:
    x = ramp(dtype)
    assert largest(change(change(x, stops), -stops) - x) <= bound


@both_types
@both_twins
@pytest.mark.parametrize("stops", [1.0, 4.0, 7.0])
def test_darkening_and_coming_back_is_the_picture_again(
    change: Change, dtype: type[np.floating], bound: float, stops: float
) -> None:
    x = ramp(dtype)
    assert largest(change(change(x, -stops), stops) - x) <= bound


@both_twins
@pytest.mark.parametrize(("a", "b"), [(1.0, 2.0), (3.0, -1.5), (-2.0, 5.0), (3.5, 3.5), (-3.0, -4.0)])
def test_two_changes_are_one_by_the_sum_of_their_stops(change: Change, a: float, b: float) -> None:
    x = ramp(np.float64)
    assert largest(change(change(x, a), b) - change(x, a + b)) <= 4e-12


@both_twins
@pytest.mark.parametrize("stops", STOPS)
def test_brighter_stays_brighter(change: Change, stops: float) -> None:
    for dtype, bound in ((np.float32, 2e-7), (np.float64, 4e-12)):
        assert np.diff(change(np.sort(ramp(dtype)), stops)).min() >= -bound


@both_twins
@pytest.mark.parametrize("stops", STOPS)
def test_black_and_white_stay_where_they_are_and_nothing_leaves_the_range(change: Change, stops: float) -> None:
    for dtype in (np.float32, np.float64):
        ends = change(np.array([0, 1], dtype=dtype), stops)
        assert ends[0] == 0
        assert ends[1] == pytest.approx(1, abs=2e-7)
        result = change(ramp(dtype), stops)
        assert result.min() >= 0
        assert result.max() <= 1
        inside = (ramp(dtype) < 0.9) & (ramp(dtype) > 0)
        if abs(stops) <= 7:
            assert result[inside].max() < 1  # nothing clips
            assert result[inside].min() > 0


@both_twins
@pytest.mark.parametrize(
    ("stops", "bound"),
    # the last digits just below white are magnified where it is darkened
    [(-7.0, 2e-4), (-2.5, 3e-6), (-1.0, 5e-7), *((stops, 2.1e-7) for stops in (0.0, 0.3, 1.0, 4.0, 7.0, 10.0))],
)
def test_single_precision_is_double_precision_but_for_rounding(change: Change, stops: float, bound: float) -> None:
    x = ramp(np.float32)
    assert largest(change(x, stops) - change(x.astype(np.float64), stops)) <= bound


@pytest.mark.parametrize("stops", [-3.0, 1.0, 5.0])
def test_shadows_are_multiplied_by_two_to_the_stops_in_linear_light(stops: float) -> None:
    shadows = to_encoded(np.linspace(1e-6, 1e-5, 50))
    gain = to_linear(expose(shadows, stops)) / to_linear(shadows)
    assert np.allclose(gain, 2**stops, rtol=1e-6)


def test_the_shoulder_is_the_formula_s() -> None:
    light, gain = np.linspace(0, 1, 101), 2.0**3
    expected = gain * light / np.sqrt(1 + (gain**2 - 1) * light**2)
    assert largest(to_linear(expose(to_encoded(light), 3.0)) - expected) <= 1e-12


@pytest.mark.parametrize("stops", STOPS)
def test_the_torch_twin_equals_the_numpy_one(stops: float) -> None:
    in_8_bit = np.arange(256, dtype=np.float32) / 255
    assert largest(torch_expose(in_8_bit, stops) - expose(in_8_bit, stops)) <= 1e-6
    assert largest(torch_expose(ramp(np.float64), stops) - expose(ramp(np.float64), stops)) <= 1e-12
    if stops >= -2.5:  # below that, shades between 254.9 / 255 and white feel the last digit of a power
        assert largest(torch_expose(ramp(np.float32), stops) - expose(ramp(np.float32), stops)) <= 1e-6


@both_twins
def test_where_the_pieces_of_srgb_are_joined_the_laws_hold_to_its_constants(change: Change) -> None:
    # 3e-8 for each of the two changes
    x = JOIN + np.linspace(-1e-7, 1e-7, 201)
    for stops in (0.0, 2.0, 7.0):
        assert largest(change(change(x, stops), -stops) - x) <= 7e-8


def test_a_map_of_stops_is_taken_by_both_twins_alike() -> None:
    draws = np.random.default_rng(0)
    picture = draws.random((2, 3, 9, 14), dtype=np.float32)
    stops = draws.uniform(-3, 8, (2, 1, 9, 14)).astype(np.float32)
    result = expose(picture, stops)
    assert result.dtype == np.float32
    assert largest(lite.expose(torch.from_numpy(picture), torch.from_numpy(stops)).numpy() - result) <= 1e-6
    assert largest(expose(picture[0, :, 4, 5], float(stops[0, 0, 4, 5])) - result[0, :, 4, 5]) <= 1e-6


def test_linear_light_is_the_standard_s() -> None:
    # IEC 61966-2-1: middle grey, the join of its two pieces, and there and back
    assert to_linear(np.array([0.5]))[0] == pytest.approx(0.21404114, abs=1e-8)
    assert to_linear(np.array([0.04045]))[0] == pytest.approx(0.0031308, abs=1e-7)
    x = ramp(np.float64)
    assert largest(to_encoded(to_linear(x)) - x) <= 1e-7  # the standard's own constants do not quite meet
    assert largest(lite.to_linear(torch.from_numpy(x)).numpy() - to_linear(x)) <= 1e-12


def test_the_torch_twin_has_a_finite_gradient_even_at_black_and_white() -> None:
    picture = torch.tensor([0.0, 1e-6, 0.5, 1.0]).requires_grad_()
    stops = torch.tensor([2.0, 2.0, 2.0, 2.0]).requires_grad_()
    lite.expose(picture, stops).sum().backward()
    assert picture.grad is not None
    assert stops.grad is not None
    assert picture.grad.isfinite().all()
    assert stops.grad.isfinite().all()


@pytest.mark.parametrize("stops", [-4.0, -0.5, 0.0, 2.2, 6.0])
def test_solved_stops_bring_the_mean_to_the_target(stops: float) -> None:
    picture = np.random.default_rng(1).random((12, 15, 3), dtype=np.float32) * 0.3
    target = float(expose(picture, stops).mean(dtype=np.float64))
    assert solve_stops(picture, target) == pytest.approx(stops, abs=2e-4)


def test_stops_that_no_exposure_reaches_are_held_at_the_limit() -> None:
    assert solve_stops(np.zeros((4, 4, 3)), 0.5) == pytest.approx(12, abs=1e-3)
    assert solve_stops(np.full((4, 4, 3), 0.5), 0.0, limit=5) == pytest.approx(-5, abs=1e-3)
