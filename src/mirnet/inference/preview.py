"""`Preview`: an image that is read once, and rendered for a screen as often as a user moves a slider.

The first pass decides as for the whole image; what is then rendered is the image made smaller, or a region of it at
its own pixels, both with the whole image's stops.
"""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from mirnet import images
from mirnet.errors import Cancelled, SettingsError
from mirnet.inference import tiles
from mirnet.inference.blending import BlendWeights
from mirnet.inference.downscaling import Downscaler, downscaled_size
from mirnet.inference.enhancer import Enhancer
from mirnet.inference.first_pass import read_bands, run_first_pass, target_mean_of
from mirnet.inference.render_plan import RenderPlan, add_scene_statistics, make_render_plan
from mirnet.inference.restored_view import RestoredView, restore_in_tiles, restore_window
from mirnet.inference.runtimes import NEVER, ShouldStop
from mirnet.inference.scene_statistics import SceneSamples
from mirnet.inference.second_pass import Progress, SecondPass
from mirnet.inference.settings import Settings
from mirnet.inference.source import MAX_KEPT_BYTES, ImageSource
from mirnet.inference.view import Layers, RenderedView, Screen, View, to_screen

# Of the last views, what the network made of them is kept; other weights are blended of it at once. One is always kept.
MAX_VIEWS, MAX_VIEWS_PX = 3, 9_000_000
DECODED_WHOLE = ("bmp", "ppm", "heic", "raw")  # formats whose readers keep what they decoded
POLL_SECONDS = 0.05  # how often a caller who waits for another view polls `should_stop`


@dataclass(frozen=True)
class _PlanKey:
    """The settings that shape a plan, and the photo to match by its checksum, so that no user's photo is kept."""

    settings: Settings
    matched: str | None

    @staticmethod
    def of(settings: Settings) -> "_PlanKey":
        shaping = replace(settings, strength=1.0, denoise="auto", denoise_colour=None, format=None, quality=92,
                          provenance=True, overwrite=False, strip_location=False, tile=None, match=None)  # fmt: skip
        match settings.match:
            case bytes() as photo:
                return _PlanKey(shaping, hashlib.sha256(photo).hexdigest())
            case None:
                return _PlanKey(shaping, None)
            case path:
                return _PlanKey(shaping, str(path))


class Preview:
    """An image that renders views of itself; safe to use from several threads.

    One view is rendered at a time. The methods take `should_stop`, which is polled, also while another view is
    rendered; they raise Cancelled once it is true.
    """

    def __init__(self, content: bytes, enhancer: Enhancer, settings: Settings,
                 should_stop: ShouldStop = NEVER) -> None:  # fmt: skip
        """Read the bytes of an image file, which are kept; of `settings`, clip and max_megapixels count.

        Raises PictureError, Cancelled.
        """
        image = images.open_image(content, max_megapixels=settings.max_megapixels, clip=settings.clip)
        self.content, self._enhancer, self.clip = content, enhancer, settings.clip
        self.source = ImageSource.from_image(image)
        header = image.header
        self.width, self.height = images.upright_size(header)
        self.format, self.depth = header.format, header.depth
        self.remarks = (*image.remarks, *self.source.remarks)
        self.blendable = header.depth == 8 and header.channels in (1, 3) and self.source.space is None
        downscaler = Downscaler(self.source, tiles.MAX_ONE_PIECE_PX)
        self._first_pass = run_first_pass(self.source, enhancer.runtime, enhancer.card, samples=True, grid=True,
                                          readers=[downscaler], should_stop=should_stop)  # fmt: skip
        self._smaller = {tiles.MAX_ONE_PIECE_PX: downscaler.to_source()}  # sources by their largest number of pixels
        self._plans: dict[tuple[_PlanKey, int], RenderPlan] = {}  # of the last key, by the pixels of the scene, 0: none
        self._means: dict[str, float] = {}  # of the last photo to match
        self._views: dict[tuple[View, _PlanKey], RestoredView] = {}
        self._lock = threading.Lock()
        whole = header.width * header.height * header.channels * (header.depth // 8)
        self._decoded_bytes = whole if whole <= MAX_KEPT_BYTES or header.format in DECODED_WHOLE else 0
        self.nbytes = 0  # about what it holds in memory; grows with the views that are rendered
        self._count_bytes()

    @property
    def proposed_stops(self) -> float:
        """The mean of the proposed stops; 0 without exposure."""
        proposal = self._first_pass.proposal
        return 0.0 if proposal is None else float(proposal.mean())

    def render_original(self, view: View, should_stop: ShouldStop = NEVER) -> Screen:
        """The view of the image as it is. Raises SettingsError (a region outside), PictureError (a damaged file)."""
        with self._one_at_a_time(should_stop):
            source = self._source_of(view)
            return to_screen(source.read_window(*view.stored_region(source)), source)

    def render(self, view: View, settings: Settings, progress: Progress = lambda done: None,
               should_stop: ShouldStop = NEVER) -> RenderedView:  # fmt: skip
        """The view of the enhanced image. `progress` is called with 0 to 1. Raises SettingsError, PictureError."""
        with self._one_at_a_time(should_stop):
            restored = self._restore(view, settings, progress, should_stop)
            return RenderedView(restored.blend(settings), restored.second_pass.plan.applied_stops(settings))

    def render_layers(self, view: View, settings: Settings, progress: Progress = lambda done: None,
                      should_stop: ShouldStop = NEVER) -> Layers:  # fmt: skip
        """The view in its three states; strength and denoise of the settings do not count.

        Raises SettingsError where the image is not `blendable`.
        """
        if not self.blendable:
            raise SettingsError("Layers need an opaque image of 8 bit in sRGB; render the view without layers.")
        with self._one_at_a_time(should_stop):
            restored = self._restore(view, settings, progress, should_stop)
            exposed, full = (restored.blend_by(BlendWeights(denoise=denoise)) for denoise in (0.0, 1.0))
            automatic = restored.blend(replace(settings, denoise="auto", strength=1.0))
            return Layers(exposed, full, automatic, restored.second_pass.plan.applied_stops(settings))

    # --- what is kept -----------------------------------------------------------------------------

    def _restore(self, view: View, settings: Settings, progress: Progress, should_stop: ShouldStop) -> RestoredView:
        """The view after the network, kept for the next call."""
        self._enhancer.check(settings)
        if view.region is not None and self.source.fits_one_piece:  # such an image has averages of its own, as a whole
            whole = self._restore(View(tiles.MAX_ONE_PIECE_PX), settings, progress, should_stop)
            return whole.part(*view.stored_region(self.source))
        plan_key = _PlanKey.of(settings)
        key = (view, plan_key)
        if key not in self._views:
            if should_stop():
                raise Cancelled
            progress(0.0)
            source = self._source_of(view)
            rows, columns = view.stored_region(source)
            plan = self._plan(plan_key, settings, source)
            if should_stop():
                raise Cancelled
            enhancer = self._enhancer
            second_pass = SecondPass(source, plan, enhancer.runtime, enhancer.card, plan_key.settings)
            if view.region is None and not source.fits_one_piece:
                self._views[key] = restore_in_tiles(second_pass, progress, should_stop)
            else:
                self._views[key] = restore_window(second_pass, rows, columns, progress, should_stop)
            while len(self._views) > 1 and self._keeps_too_much():
                del self._views[next(iter(self._views))]
            self._count_bytes()
        progress(1.0)
        return self._views[key]

    def _keeps_too_much(self) -> bool:
        return len(self._views) > MAX_VIEWS or sum(each.area_px for each in self._views.values()) > MAX_VIEWS_PX

    def _plan(self, key: _PlanKey, settings: Settings, source: ImageSource) -> RenderPlan:
        """The plan to render `source`, the image or a smaller one, always with the stops of the image.

        What is rendered in one piece needs no scene statistics; a smaller image in tiles is a scene of its own.
        """
        area_px = 0 if source.fits_one_piece else source.height * source.width
        if (key, area_px) not in self._plans:
            runtime, card = self._enhancer.runtime, self._enhancer.card
            mean = self._target_mean(key, settings)
            plan = make_render_plan(self._first_pass, runtime, card, key.settings, target_mean=mean,
                                    one_piece=source is not self.source)  # fmt: skip
            if area_px and source is not self.source:
                samples = SceneSamples(source)
                read_bands(source, [samples])
                plan = add_scene_statistics(plan, samples, runtime, card, key.settings)
            others = {each: self._plans[each] for each in self._plans if each[0] == key}
            self._plans = others | {(key, area_px): plan}
        return self._plans[key, area_px]

    def _target_mean(self, key: _PlanKey, settings: Settings) -> float | None:
        if key.matched is None:
            return None
        if key.matched not in self._means:
            mean = target_mean_of(settings)
            assert mean is not None, "settings without the photo that their key names"
            self._means = {key.matched: mean}
        return self._means[key.matched]

    @contextmanager
    def _one_at_a_time(self, should_stop: ShouldStop) -> Iterator[None]:
        """Hold the lock; poll `should_stop` while another call holds it. Raises Cancelled."""
        while not self._lock.acquire(timeout=POLL_SECONDS):
            if should_stop():
                raise Cancelled
        try:
            yield
        finally:
            self._lock.release()

    def _source_of(self, view: View) -> ImageSource:
        """The image itself for a region, else the image made as small as the view."""
        if view.region is not None:
            return self.source
        full = tiles.MAX_ONE_PIECE_PX
        larger = self._smaller[full] if view.pixels <= full else self.source
        if downscaled_size(larger.height, larger.width, view.pixels) == (larger.height, larger.width):
            return larger
        if view.pixels not in self._smaller:
            downscaler = Downscaler(larger, view.pixels)
            read_bands(larger, [downscaler])
            newest = [each for each in self._smaller if each != full][-1:]  # a quick view and a finer one take turns
            kept = {each: self._smaller[each] for each in (full, *newest)}
            self._smaller = kept | {view.pixels: downscaler.to_source()}
        return self._smaller[view.pixels]

    def _count_bytes(self) -> None:
        """About: the file, the image where that is kept decoded, the smaller ones, and the views."""
        smaller = sum(each.height * each.width * 12 for each in self._smaller.values())
        views = sum(each.nbytes for each in self._views.values())
        self.nbytes = len(self.content) + self._decoded_bytes + smaller + views
