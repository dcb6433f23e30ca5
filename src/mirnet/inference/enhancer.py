"""`Enhancer`: enhances dark images of any kind into bright ones of the same kind, with a network that it keeps open."""

import time
from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from mirnet import images
from mirnet._version import __version__
from mirnet.errors import OutputExists, SettingsError
from mirnet.formats import find_format, make_output_name
from mirnet.inference import catalog
from mirnet.inference.array_images import array_of_pil, check_array, is_pil_image, pil_like
from mirnet.inference.blending import Pixels
from mirnet.inference.first_pass import propose_exposure, target_mean_of
from mirnet.inference.render_plan import RenderPlan, plan_image
from mirnet.inference.runtimes import NEVER, Runtime, ShouldStop, open_runtime
from mirnet.inference.second_pass import Progress, SecondPass
from mirnet.inference.settings import Settings
from mirnet.inference.source import ImageSource


@dataclass(frozen=True, kw_only=True)
class EnhanceResult:
    """What is reported of an enhanced image: its size, the stops, the seconds, and remarks for the user."""

    width: int  # of the upright image
    height: int
    proposed_stops: float  # the mean over the image
    stops: float  # that the image got, the mean over it
    seconds: float
    settings: Settings
    precision: str  # in which the network was computed: "f32", "bf16" or "int8"
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class EnhancedBytes(EnhanceResult):
    """The result of `Enhancer.enhance_bytes`: an image file in memory; `format` is a name of mirnet.formats.FORMATS."""

    content: bytes = field(repr=False)
    format: str


@dataclass(frozen=True)
class EnhancedFile(EnhanceResult):
    """The result of `Enhancer.enhance_file`; `output` is the file that it wrote."""

    output: Path


class Enhancer:
    """An open network that enhances any number of images; safe to use from several threads.

    `weights` is the name of installed weights or the path of an ONNX file with its card; `runtime` is "openvino",
    "onnxruntime", "torch" or an open runtime; `device` is a name of that runtime's; `threads` None uses all cores;
    `fast` computes in bfloat16 or int8, whose loss the card states. `progress(done)` is called with 0 to 1 for each
    image and may raise `mirnet.Cancelled`: a file then stays unwritten. Raises WeightsError, SettingsError.
    """

    def __init__(self, weights: str | Path = "lite", *, device: str = "cpu", threads: int | None = None,
                 runtime: str | Runtime = "openvino", fast: bool = False,
                 progress: Progress = lambda done: None) -> None:  # fmt: skip
        if threads is not None and threads < 1:
            raise SettingsError(f"threads must be at least 1, not {threads}.")
        self.weights = catalog.find(weights)
        self.card = self.weights.card
        self._progress = progress
        self.runtime: Runtime = (
            open_runtime(runtime, self.weights, device, threads, fast) if isinstance(runtime, str) else runtime
        )

    @overload
    def enhance(self, x: str | Path, **settings: Any) -> Path: ...
    @overload
    def enhance(self, x: bytes, **settings: Any) -> bytes: ...
    @overload
    def enhance(self, x: NDArray[Any], **settings: Any) -> NDArray[Any]: ...
    @overload
    def enhance(self, x: Any, **settings: Any) -> Any: ...
    def enhance(self, x: Any, **settings: Any) -> Any:
        """Enhance one image; keywords are the fields of `Settings`.

        A path returns the path of the file that it wrote, NAME.bright.EXT next to the original
        (OutputExists where that exists, unless overwrite=True); bytes of an image file return
        bytes of the same format; arrays (H, W), (H, W, 3) or (H, W, 4) of uint8, uint16 or float in
        [0, 1] and PIL images return their like. Raises PictureError, SettingsError.
        """
        chosen = _make_settings(settings)
        self.check(chosen)
        match x:
            case str() | Path():
                return self.enhance_file(Path(x), default_target_path(Path(x), chosen.format), chosen).output
            case bytes():
                return self.enhance_bytes(x, chosen).content
            case np.ndarray():
                return self._enhance_array(x, chosen)
        if is_pil_image(x):
            array, orientation, icc = array_of_pil(x)
            return pil_like(x, self._enhance_array(array, chosen, orientation, icc))
        raise _unexpected(x)

    def propose(self, x: Any) -> float:
        """The mean of the stops that the network proposes for a path, bytes, an array or a PIL image.

        0 for weights that take no exposure. Raises PictureError, SettingsError.
        """
        match x:
            case str() | Path() | bytes():
                source = ImageSource.from_image(images.open_image(Path(x) if isinstance(x, str) else x))
            case np.ndarray():
                source = ImageSource.from_array(check_array(x))
            case _ if is_pil_image(x):
                array, orientation, _ = array_of_pil(x)
                source = ImageSource.from_array(check_array(array), orientation)
            case _:
                raise _unexpected(x)
        cells = propose_exposure(source, self.runtime, self.card)
        return 0.0 if cells is None else float(cells.mean())

    def enhance_file(self, source: Path, target: Path, settings: Settings, progress: Progress | None = None,
                     should_stop: ShouldStop = NEVER) -> EnhancedFile:  # fmt: skip
        """Enhance one file into another, which is written whole or not at all.

        Its format is that of the source's content, unless the suffixes differ. `progress` is called for this file
        instead of that of the constructor; `should_stop()` is polled, and once it is true the target stays unwritten.
        Raises OutputExists, PictureError, SettingsError, Cancelled.
        """
        progress = progress or self._progress
        started = time.monotonic()
        self.check(settings)
        _refuse_existing(source, target, settings)
        image = _open(source, settings)
        format = images.refuse_unwritable(image, _choose_format(source, target, settings), settings.quality)
        pixels = ImageSource.from_image(image)
        plan = self._plan(pixels, settings, should_stop)
        dropped: tuple[str, ...] = ()
        if _is_unchanged(image, format, settings):
            progress(1.0)
            images.copy_file(source, target, overwrite=settings.overwrite)
        else:
            bands = SecondPass(pixels, plan, self.runtime, self.card, settings).render(progress, should_stop)
            dropped = images.save_image(target, bands, image, format=format, quality=settings.quality,
                                        provenance=self._provenance(settings), strip_location=settings.strip_location,
                                        overwrite=settings.overwrite)  # fmt: skip
        return EnhancedFile(target, **self._facts(image, pixels, plan, settings, started, dropped))

    def enhance_bytes(self, content: bytes, settings: Settings, progress: Progress | None = None,
                      should_stop: ShouldStop = NEVER) -> EnhancedBytes:  # fmt: skip
        """Enhance the bytes of an image file into those of another, of its format unless the settings name one.

        `progress` and `should_stop` as of `enhance_file`. Raises PictureError, SettingsError, Cancelled.
        """
        progress = progress or self._progress
        started = time.monotonic()
        self.check(settings)
        image = _open(content, settings)
        format = images.refuse_unwritable(image, settings.format, settings.quality)
        pixels = ImageSource.from_image(image)
        plan = self._plan(pixels, settings, should_stop)
        dropped: tuple[str, ...] = ()
        if _is_unchanged(image, format, settings):
            progress(1.0)
            result = content
        else:
            bands = SecondPass(pixels, plan, self.runtime, self.card, settings).render(progress, should_stop)
            result, dropped = images.encode_image(bands, image, format=format, quality=settings.quality,
                                                  provenance=self._provenance(settings),
                                                  strip_location=settings.strip_location)  # fmt: skip
        return EnhancedBytes(result, format, **self._facts(image, pixels, plan, settings, started, dropped))

    def check(self, settings: Settings) -> None:
        """Raises SettingsError where these weights do not have a setting that was chosen."""
        needs_exposure = {
            "keep-exposure": settings.keep_exposure, "denoise": settings.denoise != "auto",
            "denoise-colour": settings.denoise_colour is not None, "mood": settings.mood != "day",
            "match": settings.match is not None, "warmth": settings.warmth != 0,
        }  # fmt: skip
        chosen = [name for name, is_chosen in needs_exposure.items() if is_chosen]
        if chosen and not self.card.takes_exposure:
            raise SettingsError(
                f"The weights {self.card.name} brighten and denoise in one step, so {' and '.join(chosen)} cannot be "
                "chosen; leave them out, or use weights that take an exposure."
            )

    def _enhance_array(
        self, array: Pixels, settings: Settings, orientation: int = 1, icc: bytes | None = None
    ) -> Pixels:
        source = ImageSource.from_array(check_array(array, settings.clip), orientation, icc)
        plan = self._plan(source, settings, NEVER)
        bands = SecondPass(source, plan, self.runtime, self.card, settings).render(self._progress)
        return np.concatenate(list(bands)).reshape(array.shape)

    def _plan(self, source: ImageSource, settings: Settings, should_stop: ShouldStop) -> RenderPlan:
        return plan_image(source, self.runtime, self.card, settings, target_mean=target_mean_of(settings),
                          should_stop=should_stop)  # fmt: skip

    def _facts(self, image: images.Image, source: ImageSource, plan: RenderPlan, settings: Settings, started: float,
               dropped: tuple[str, ...]) -> dict[str, Any]:  # fmt: skip
        """The fields of an `EnhanceResult`; `dropped` are remarks about what the new file cannot hold."""
        width, height = images.upright_size(image.header)
        return {
            "width": width, "height": height, "proposed_stops": plan.proposed_stops,
            "stops": plan.applied_stops(settings), "seconds": time.monotonic() - started, "settings": settings,
            "precision": self.runtime.precision, "remarks": (*image.remarks, *source.remarks, *dropped),
        }  # fmt: skip

    def _provenance(self, settings: Settings) -> str | None:
        """What the XMP of the result states of its making; None where the settings say so."""
        if not settings.provenance:
            return None
        computed = "" if self.runtime.precision == "f32" else f" in {self.runtime.precision}"
        weights = f"weights {self.card.name} {self.card.sha256}{computed}"
        return f"mirnet {__version__}; {weights}; {settings.described()}"


def enhance(x: Any, *, strength: float = 1.0, exposure: float = 0.0, denoise: float | Literal["auto"] = "auto",
            **settings: Any) -> Any:  # fmt: skip
    """Enhance one image with the default weights: a path, bytes, array or PIL image; see `Enhancer.enhance`.

    The network is loaded once and kept; for other weights or devices make an `Enhancer`.
    """
    return _default_enhancer().enhance(x, strength=strength, exposure=exposure, denoise=denoise, **settings)


@lru_cache(maxsize=1)
def _default_enhancer() -> Enhancer:
    return Enhancer()


def default_target_path(source: Path, format: str | None = None) -> Path:
    """Where the result of a file goes by default: NAME.bright.EXT next to it, with the suffix of `format`.

    `format` is a name of mirnet.formats.WRITABLE, None for the format that belongs to the source.
    """
    return source.with_name(make_output_name(f"{source.stem}.bright{source.suffix}", format))


def _open(source: Path | bytes, settings: Settings) -> images.Image:
    return images.open_image(source, max_megapixels=settings.max_megapixels, clip=settings.clip)


def _is_unchanged(image: images.Image, format: str, settings: Settings) -> bool:
    """Whether the settings change no byte of the file."""
    return settings.strength == 0 and format == image.header.format and not settings.strip_location


def _make_settings(chosen: dict[str, Any]) -> Settings:
    known = [each.name for each in fields(Settings)]
    unknown = sorted(chosen.keys() - set(known))
    if unknown:
        raise SettingsError(f"There is no setting {', '.join(unknown)}; expected some of {', '.join(known)}.")
    return Settings(**chosen)


def _unexpected(x: Any) -> SettingsError:
    return SettingsError(f"Expected a path, bytes, a numpy array or a PIL image, not {type(x).__name__}.")


def _refuse_existing(source: Path, target: Path, settings: Settings) -> None:
    if not target.exists():
        return
    if source.exists() and target.samefile(source):
        raise SettingsError(f"{target}: is the original itself, which is never replaced; choose another output.")
    if not settings.overwrite:
        raise OutputExists(
            f"{target}: is there already and was left alone; to replace it, pass --overwrite (overwrite=True)."
        )


def _choose_format(source: Path, target: Path, settings: Settings) -> str | None:
    """The format that the settings name, else that of the target's suffix where it differs from the source's.

    None for the format that belongs to the content, also where the source's suffix is wrong.
    """
    by_suffix = find_format(target.suffix)
    if by_suffix is None or by_suffix == find_format(source.suffix):
        return settings.format
    return settings.format or by_suffix.name
