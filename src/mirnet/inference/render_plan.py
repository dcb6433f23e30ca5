"""`RenderPlan`: what is decided about an image between its first and its second pass: exposure, scene and tiles."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from mirnet.inference import tiles
from mirnet.inference.blending import Floats
from mirnet.inference.catalog import Card
from mirnet.inference.first_pass import FirstPass, PixelGrid, run_first_pass
from mirnet.inference.runtimes import NEVER, Runtime, ShouldStop
from mirnet.inference.scene_statistics import SceneSamples, SceneStatistics
from mirnet.inference.settings import Settings
from mirnet.inference.source import ImageSource

NIGHT_SHARE = 0.5  # of the proposed stops: what stays dark to the eye on a street at night
MATCH_ROUNDS, MATCH_TOLERANCE = 8, 0.001  # a small network moves the mean little: mostly two rounds


@dataclass(frozen=True)
class RenderPlan:
    """How an image is rendered; maps of stops are of cells, in the image's stored order."""

    proposal: Floats | None  # (h, w) stops as the head proposes them; None without exposure
    stops: Floats | None  # (h, w) stops that the image gets
    scene_vector: Floats | None  # (K,); None: the image is rendered in one piece, which has its own averages
    tile_px: int
    # restored is multiplied by it; None: by the factor of the tile itself with keep_exposure, else by nothing
    brightness_factor: float | None = None

    @property
    def proposed_stops(self) -> float:
        """The mean of the proposed stops; 0 without exposure."""
        return 0.0 if self.proposal is None else float(self.proposal.mean())

    def applied_stops(self, settings: Settings) -> float:
        """The mean of the stops that the image gets."""
        return settings.exposure if self.stops is None else float(self.stops.mean())


def plan_image(source: ImageSource, runtime: Runtime, card: Card, settings: Settings, added_stops: float = 0.0,
               target_mean: float | None = None,
               should_stop: ShouldStop = NEVER) -> RenderPlan:  # fmt: skip
    """Read an image once and plan its rendering.

    `added_stops` go on top of those of the settings. `target_mean`, of sRGB-encoded values in [0, 1], is the mean that
    the result gets; None without a photo to match. Raises Cancelled once `should_stop()` is true.
    """
    matched = target_mean is not None and card.takes_exposure
    _, one_piece = _choose_tiles(source, card, settings)
    found = run_first_pass(source, runtime, card, samples=matched or not one_piece, grid=matched,
                           should_stop=should_stop)  # fmt: skip
    return make_render_plan(found, runtime, card, settings, added_stops, target_mean)


def make_render_plan(first_pass: FirstPass, runtime: Runtime, card: Card, settings: Settings, added_stops: float = 0.0,
                     target_mean: float | None = None, one_piece: bool = False) -> RenderPlan:  # fmt: skip
    """The plan for an image that was read; arguments as of `plan_image`.

    With `one_piece` the plan has no scene statistics: it is for a rendering in one piece, however large the image.
    """
    tile_px, fits = _choose_tiles(first_pass.source, card, settings)
    stops = _choose_stops(first_pass.proposal, settings, added_stops)
    if stops is not None and target_mean is not None:
        assert first_pass.grid is not None and first_pass.samples is not None, "a first pass without grid and samples"
        samples = first_pass.samples

        def measure_at(stops: Floats) -> SceneStatistics:
            return samples.measure_scene(runtime, card, stops, settings.warmth)

        stops = _match_mean(stops, target_mean, first_pass.grid, measure_at)
    plan = RenderPlan(first_pass.proposal, stops, None, tile_px)
    if fits or one_piece:
        return plan
    assert first_pass.samples is not None, "a first pass without samples"
    return add_scene_statistics(plan, first_pass.samples, runtime, card, settings)


def add_scene_statistics(plan: RenderPlan, samples: SceneSamples, runtime: Runtime, card: Card,
                         settings: Settings) -> RenderPlan:  # fmt: skip
    """The plan with the statistics of these samples, which are of its image or of that image made smaller."""
    found = samples.measure_scene(runtime, card, plan.stops, settings.warmth)
    factor = found.brightness_factor if settings.keep_exposure else 1.0
    return replace(plan, scene_vector=found.vector, brightness_factor=factor)


def _choose_tiles(source: ImageSource, card: Card, settings: Settings) -> tuple[int, bool]:
    """The side of the tiles, and whether one tile holds the image."""
    fits, longest = source.fits_one_piece, max(source.height, source.width)
    chosen = tiles.round_up(settings.tile, card.size_multiple) if settings.tile else None
    tile_px = chosen or (longest if fits else tiles.TILE_PX)
    return tile_px, fits and tile_px >= longest


def _choose_stops(proposal: Floats | None, settings: Settings, added_stops: float) -> Floats | None:
    """The stops that the image gets: all of the proposal, a share or none of it, and what the user adds."""
    if proposal is None:
        return None
    share = 0.0 if settings.keep_exposure else NIGHT_SHARE if settings.mood == "night" else 1.0
    return np.float32(share) * proposal + np.float32(settings.exposure + added_stops)


def _match_mean(stops: Floats, target_mean: float, grid: PixelGrid,
                measure_at: Callable[[Floats], SceneStatistics]) -> Floats:  # fmt: skip
    """The stops, moved everywhere by the number that gives the result the mean; the network's change is included."""
    found, change = stops, 0.0
    for _ in range(MATCH_ROUNDS):
        low, high = -12.0, 12.0
        while high - low > 1e-3:
            middle = (low + high) / 2
            low, high = (middle, high) if grid.mean(stops, middle) + change < target_mean else (low, middle)
        found = stops + np.float32((low + high) / 2)
        before, change = change, measure_at(found).mean_change
        if abs(change - before) < MATCH_TOLERANCE:
            break
    return found
