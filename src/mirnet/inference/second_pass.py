"""One picture through the network, in bands of rows: look at it once, then render it.

The first pass decides (a plan: the exposure and the scene), the second renders: a small picture in one
piece, a large one in tiles that share the scene's statistics and the stops, so that no tile shows.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mirnet.exposure import expose
from mirnet.inference import tiles
from mirnet.inference.blending import (
    BlendWeights,
    ExposedTile,
    Floats,
    Pixels,
    blend_tile,
    expose_tile,
    find_black_blocks,
)
from mirnet.inference.catalog import Card
from mirnet.inference.first_pass import (
    WHOLE_PX,
    BandReader,
    PixelGrid,
    SceneSamples,
    SceneStatistics,
    Thumbnail,
    brightness_balance,
    padded_px,
    read_bands,
    stops_in_window,
)
from mirnet.inference.runtimes import Runtime, Tick
from mirnet.inference.settings import Settings
from mirnet.inference.source import Source

Progress = Callable[[float], None]

TILE_PX = 640  # the fastest for its memory of those measured (docs/performance.md)
HELD_BYTES = 96 * 2**20  # of stored rows at a time; the tiles of a very wide picture are less high
WORKERS = 2  # tiles in work at a time: what numpy does for one overlaps with the network on the other
NIGHT_SHARE = 0.5  # of the proposed stops: what stays dark to the eye on a street at night
MATCH_ROUNDS, MATCHED_TO = 8, 0.001  # a small network moves the mean little: mostly two rounds


@dataclass(frozen=True)
class RenderPlan:
    """What the first look at a picture decides; maps of stops are of cells, in the picture's stored order."""

    proposal: Floats | None  # (h, w) stops as proposed, before anybody's wishes; None without exposure
    stops: Floats | None  # (h, w) stops that the picture gets
    scene: Floats | None  # (K,); None: the picture pools itself, in one piece
    tile_px: int
    balance: float | None = None  # restored is multiplied by it; None: as the tile itself asks for, or by nothing

    @property
    def proposed_stops(self) -> float:
        """In the mean; 0 without exposure."""
        return 0.0 if self.proposal is None else float(self.proposal.mean())


# --- the first pass -------------------------------------------------------------------------------


def plan_image(
    source: Source,
    runtime: Runtime,
    card: Card,
    settings: Settings,
    added_stops: float = 0.0,
    target_mean: float | None = None,
    progress: Progress = lambda done: None,
) -> RenderPlan:
    """The first pass over a picture; `added_stops` go on top of what the settings say.

    `target_mean`, of sRGB-encoded values, is what the result's mean shall be; then `match` of the settings was asked.
    `progress` hears 0 again and again, and may raise.
    """
    matched = target_mean is not None and card.takes_exposure
    _, one_piece = _choose_tiles(source, card, settings)
    seen = run_first_pass(source, runtime, card, samples=matched or not one_piece, grid=matched, progress=progress)
    return make_render_plan(seen, runtime, card, settings, added_stops, target_mean)


@dataclass(frozen=True, eq=False)
class FirstPass:
    """What one pass over a picture saw of it: from that follows a plan for whatever somebody wishes."""

    source: Source
    proposal: Floats | None  # (h, w) stops; None without exposure
    samples: SceneSamples | None
    grid: PixelGrid | None


def run_first_pass(
    source: Source,
    runtime: Runtime,
    card: Card,
    *,
    samples: bool,
    grid: bool,
    also: Sequence[BandReader] = (),
    progress: Progress = lambda done: None,
) -> FirstPass:
    """Let a picture stream by; with `samples` for plans of several tiles, with `grid` for plans that match a mean."""
    thumbnail = Thumbnail(source) if card.takes_exposure else None
    sampled, gridded = SceneSamples(source) if samples else None, PixelGrid(source) if grid else None
    read_bands(
        source, [each for each in (thumbnail, sampled, gridded, *also) if each is not None], lambda: progress(0.0)
    )
    return FirstPass(source, None if thumbnail is None else thumbnail.proposal(runtime), sampled, gridded)


def make_render_plan(
    seen: FirstPass,
    runtime: Runtime,
    card: Card,
    settings: Settings,
    added_stops: float = 0.0,
    target_mean: float | None = None,
    survey: bool = True,
) -> RenderPlan:
    """The plan for a picture that was seen; arguments as of `look`.

    Without `survey`, whoever renders by it shows the picture in one piece, which pools itself.
    """
    tile_px, one_piece = _choose_tiles(seen.source, card, settings)
    stops = _choose_stops(seen.proposal, settings, added_stops)
    if stops is not None and target_mean is not None:
        assert seen.grid is not None and seen.samples is not None, "seen without what a match needs"
        survey_at = partial(seen.samples.measure, runtime, card)
        stops = _match_mean(stops, target_mean, seen.grid, survey_at, settings.warmth)
    if one_piece or not survey:
        return RenderPlan(seen.proposal, stops, None, tile_px)
    assert seen.samples is not None, "seen without samples"
    return with_scene_statistics(RenderPlan(seen.proposal, stops, None, tile_px), seen.samples, runtime, card, settings)


def with_scene_statistics(
    plan: RenderPlan, samples: SceneSamples, runtime: Runtime, card: Card, settings: Settings
) -> RenderPlan:
    """A plan with the scene that samples of the picture, or of the same made smaller, are of."""
    found = samples.measure(runtime, card, plan.stops, settings.warmth)
    return replace(plan, scene=found.scene, balance=found.balance if settings.keep_exposure else 1.0)


def _choose_tiles(source: Source, card: Card, settings: Settings) -> tuple[int, bool]:
    """The side of the tiles, and whether one holds the picture, which then pools itself."""
    small, longest = padded_px(source) <= WHOLE_PX, max(source.height, source.width)
    tile_px = _rounded_up(settings.tile, card.size_multiple) if settings.tile else longest if small else TILE_PX
    return tile_px, small and tile_px >= longest


def propose(source: Source, runtime: Runtime, card: Card) -> Floats | None:
    """The stops of each cell (h, w) that the head proposes; None without exposure."""
    if not card.takes_exposure:
        return None
    thumbnail = Thumbnail(source)
    read_bands(source, [thumbnail])
    return thumbnail.proposal(runtime)


def measure_mean(source: Source) -> float:
    """The mean of a picture's values, sRGB-encoded in [0, 1]: what `match` asks of a photo."""
    grid = PixelGrid(source)
    read_bands(source, [grid])
    return grid.mean()


def _rounded_up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple


def _choose_stops(proposal: Floats | None, settings: Settings, added_stops: float) -> Floats | None:
    """The stops that the picture gets: the proposal, or a share of it, or none, and what the person adds."""
    if proposal is None:
        return None
    share = 0.0 if settings.keep_exposure else NIGHT_SHARE if settings.mood == "night" else 1.0
    return np.float32(share) * proposal + np.float32(settings.exposure + added_stops)


def _match_mean(
    stops: Floats,
    target_mean: float,
    grid: PixelGrid,
    survey: Callable[[Floats, float], SceneStatistics],
    warmth: float,
) -> Floats:
    """The stops, as many more or fewer everywhere as give the result the mean; the network's own share included."""
    found, changed = stops, 0.0
    for _ in range(MATCH_ROUNDS):
        low, high = -12.0, 12.0
        while high - low > 1e-3:
            middle = (low + high) / 2
            low, high = (middle, high) if grid.mean(stops, middle) + changed < target_mean else (low, middle)
        found = stops + np.float32((low + high) / 2)
        before, changed = changed, survey(found, warmth).change
        if abs(changed - before) < MATCHED_TO:
            break
    return found


# --- the second pass ------------------------------------------------------------------------------


def render(source: Source, plan: RenderPlan, runtime: Runtime, card: Card, settings: Settings,
           progress: Progress = lambda done: None) -> Iterator[Pixels]:  # fmt: skip
    """The second pass: bands of the enhanced picture, of the source's channels and dtype, from top to bottom."""
    if settings.strength == 0:
        yield from source.in_bands()
        return
    one_piece = max(source.height, source.width) <= plan.tile_px
    tick = partial(progress, 0.0) if one_piece else None  # of several tiles each is done soon
    work = partial(_tile, source, plan, runtime, card, settings, tick)
    yield from process_tiles(source, plan.tile_px, card, work, progress)


def process_tiles(
    source: Source,
    tile_px: int,
    card: Card,
    work: Callable[[tiles.Span, tiles.Span, Pixels], NDArray[Any]],
    progress: Progress,
) -> Iterator[NDArray[Any]]:
    """What `work(rows, columns, pixels seen)` gives for each tile of a picture, as bands of it from top to bottom."""
    columns = list(tiles.spans(source.width, tile_px, card.overlap_px, card.size_multiple))
    calls = (
        partial(work, rows, column, held[:, column.seen])
        for rows, held in _rows_with_context(source, tile_px, card)
        for column in columns
    )
    done = 0
    # a picture in one piece needs no threads
    many = len(columns) > 1 or source.height > tile_px
    row = np.empty(0)
    for column, tile in zip(cycle(columns), run_in_order(calls, WORKERS) if many else (call() for call in calls)):
        if column is columns[0]:
            row = np.empty((len(tile), source.width, tile.shape[2]), dtype=tile.dtype)
        row[:, column.given] = tile
        done += tile.shape[0] * tile.shape[1]
        progress(done / (source.height * source.width))
        if column is columns[-1]:
            yield row


def _tile(source: Source, plan: RenderPlan, runtime: Runtime, card: Card, settings: Settings, tick: Tick | None,
          rows: tiles.Span, column: tiles.Span, pixels: Pixels) -> Pixels:  # fmt: skip
    """What one tile gives, of the pixels that it sees."""
    tile, restored = restore_tile(source, plan, runtime, card, settings, rows.seen, column.seen, pixels, tick)
    core = (rows.core, column.core)
    wishes = blend_weights_of(source, plan, card, settings, rows.given, column.given)
    return blend_tile(pixels[core], tile.part(*core), restored[:, *core], wishes, source.space)


def restore_tile(
    source: Source,
    plan: RenderPlan,
    runtime: Runtime,
    card: Card,
    settings: Settings,
    rows: slice,
    columns: slice,
    pixels: Pixels,
    tick: Tick | None = None,
) -> tuple[ExposedTile, Floats]:
    """The pixels in a window of the picture, exposed, and what the network makes of them: (3, rows, width).

    `tick` is called again and again meanwhile, and may raise.
    """
    stops = stops_in_window(plan.stops, source, rows, columns)
    tile = expose_tile(pixels, stops, settings.warmth, source.space)
    height, width = pixels.shape[:2]
    picture = tiles.pad_to_multiple(tile.seen[None], card.size_multiple)
    map_ = None if stops is None else tiles.pad_to_multiple(stops[None, None], card.size_multiple)
    restored = runtime.restore(picture, map_, plan.scene, tick)[0][0, :, :height, :width]
    if settings.keep_exposure:  # what only takes noise away leaves the mean where it is
        restored = restored * np.float32(
            brightness_balance(tile.seen, restored) if plan.balance is None else plan.balance
        )
    if stops is None and settings.exposure:
        restored = expose(np.clip(restored, 0, 1), settings.exposure)
    black = find_black_blocks(pixels, card.size_multiple)  # tiles begin on multiples of it, so that all see the same
    return tile, np.where(black, tile.seen, restored) if black.any() else restored


def blend_weights_of(
    source: Source, plan: RenderPlan, card: Card, settings: Settings, rows: slice, columns: slice
) -> BlendWeights:
    """How much of what the network changes is kept in a window of the picture."""
    share = _denoise_share(stops_in_window(plan.proposal, source, rows, columns), settings, card)
    return BlendWeights(settings.strength, share, settings.denoise_colour)


def _rows_with_context(source: Source, tile_px: int, card: Card) -> Iterator[tuple[tiles.Span, Pixels]]:
    """Each row of tiles with the rows around it that it must see; only these are held."""
    bands = iter(source.in_bands())
    held, top = next(bands), 0
    most = HELD_BYTES // (held[0].nbytes or 1) - 2 * card.overlap_px
    lowest = 2 * card.size_multiple
    height = max(lowest, min(tile_px, most // card.size_multiple * card.size_multiple))
    for span in tiles.spans(source.height, height, card.overlap_px, card.size_multiple):
        held, top = held[span.seen.start - top :], span.seen.start
        waiting, rows = [held], len(held)
        while top + rows < span.seen.stop:
            waiting.append(next(bands))
            rows += len(waiting[-1])
        held = np.concatenate(waiting) if len(waiting) > 1 else held
        waiting.clear()  # of a wide picture these are a hundred megabytes
        yield span, held[: span.seen.stop - top]


def run_in_order(calls: Iterable[Callable[[], Pixels]], at_once: int) -> Iterator[Pixels]:
    """What the calls give, in their order, `at_once` of them in work; one more waits, with its pixels decoded."""
    waiting: deque[Future[Pixels]] = deque()
    with ThreadPoolExecutor(at_once) as pool:
        try:
            for call in calls:
                waiting.append(pool.submit(call))
                if len(waiting) > at_once:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _denoise_share(proposal: Floats | None, settings: Settings, card: Card) -> float | Floats:
    """How much of what the restorer changes is kept: everywhere, or at each pixel (h, w)."""
    if proposal is None:
        return 1.0
    if settings.denoise != "auto":
        return float(settings.denoise)
    if settings.keep_exposure:
        return 1.0
    floor = np.float32(card.denoise_at_zero_stops)
    return np.asarray(floor + (1 - floor) * np.clip(proposal, 0, 1), dtype=np.float32)
