"""`Enhancer`: dark pictures of any kind in, bright ones of the same kind out; holds its network for many of them."""

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from mirnet import images
from mirnet._version import __version__
from mirnet.errors import OutputExists, PictureError, SettingsError
from mirnet.formats import result_name
from mirnet.inference import catalog
from mirnet.inference.blending import Pixels
from mirnet.inference.runtimes import Runtime, open_runtime
from mirnet.inference.second_pass import RenderPlan, measure_mean, plan_image, propose, render
from mirnet.inference.settings import Settings
from mirnet.inference.source import Source

Progress = Callable[[float], None]

ORIENTATION = 0x0112  # the EXIF tag
PLAIN_MODES = ("L", "LA", "RGB", "RGBA", "I;16")  # of PIL images: their arrays are what they show
TO_PLAIN = {"1": "L", "La": "LA", "PA": "RGBA", "RGBX": "RGB", "RGBa": "RGBA", "CMYK": "RGB", "YCbCr": "RGB",
            "LAB": "RGB", "HSV": "RGB", "I;16L": "I;16", "I;16B": "I;16"}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class EnhancementFacts:
    """What is to be told of one enhanced picture: the stops proposed and given, seconds, remarks for the person."""

    width: int  # as a person sees it
    height: int
    proposed_stops: float
    stops: float
    seconds: float
    settings: Settings
    precision: str  # in which the network was computed: "f32", "bf16" or "int8"
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Enhanced(EnhancementFacts):
    """What became of the bytes of a picture file: a file again, of a format of mirnet.formats.FORMATS."""

    content: bytes = field(repr=False)
    format: str


@dataclass(frozen=True)
class Report(EnhancementFacts):
    """What became of one file, and where it lies."""

    output: Path


class Enhancer:
    """A network, ready for many pictures; safe to use from several threads.

    `weights` is the name of installed weights or the path of an ONNX file with its card; `runtime` "openvino",
    "onnxruntime", "torch" or one that is open already; `device` as that runtime names it; `threads` None for all
    cores; `fast` computes in bfloat16 or int8, whose loss the card states. `progress(done)` is called with 0 to 1 for
    each picture and may raise `mirnet.Cancelled`: a file then stays unwritten. Raises WeightsError, SettingsError.
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
        """One picture, enhanced; keywords are the fields of `Settings`.

        A path returns the path of the file that it wrote, NAME.bright.EXT beside the original
        (OutputExists where that is there, unless overwrite=True); bytes of a picture file return
        bytes of the same format; arrays (H, W), (H, W, 3) or (H, W, 4) of uint8, uint16 or float in
        [0, 1] and PIL images return their like. Raises PictureError, SettingsError.
        """
        wished = _settings(settings)
        self.check(wished)
        match x:
            case str() | Path():
                return self.enhance_file(Path(x), default_target(Path(x), wished.format), wished).output
            case bytes():
                return self.enhance_bytes(x, wished).content
            case np.ndarray():
                return self._enhance_array(x, wished)
        if _is_pil(x):
            return self._enhance_pil(x, wished)
        raise SettingsError(f"Expected a path, bytes, a numpy array or a PIL image, not {type(x).__name__}.")

    def propose(self, x: Any) -> float:
        """The proposed stops, in the mean over a path's, bytes', array's or PIL image's picture; 0 without exposure."""
        match x:
            case str() | Path() | bytes():
                source = Source.of_image(images.open_image(Path(x) if isinstance(x, str) else x))
            case np.ndarray():
                source = Source.of(_as_bands(x))
            case _ if _is_pil(x):
                source = Source.of(_as_bands(np.asarray(_plain_pil(x))), _orientation_of_pil(x))
            case _:
                raise SettingsError(f"Expected a path, bytes, a numpy array or a PIL image, not {type(x).__name__}.")
        cells = propose(source, self.runtime, self.card)
        return 0.0 if cells is None else float(cells.mean())

    def enhance_file(self, source: Path, target: Path, settings: Settings, progress: Progress | None = None) -> Report:
        """Enhance one file into another, which appears whole or not at all.

        Its format is the source's, by content, unless the suffixes differ. `progress` as of the constructor, for this
        file alone. Raises OutputExists, PictureError, SettingsError.
        """
        progress = progress or self._progress
        started = time.monotonic()
        self.check(settings)
        _refuse_existing(source, target, settings)
        picture = _opened(source, settings)
        format = images.refuse_unwritable(picture, _format(picture, source, target, settings), settings.quality)
        pixels = Source.of_image(picture)
        plan = self._plan(pixels, settings, progress)
        lost: tuple[str, ...] = ()
        if _stays_as_it_is(picture, format, settings):
            progress(1.0)
            images.copy_file(source, target, overwrite=settings.overwrite)
        else:
            lost = images.save_image(
                target,
                self._render(pixels, plan, settings, progress),
                picture,
                format=format,
                quality=settings.quality,
                provenance=self._provenance(settings),
                strip_location=settings.strip_location,
                overwrite=settings.overwrite,
            )
        return Report(target, **self._facts(picture, pixels, plan, settings, started, lost))

    def enhance_bytes(self, content: bytes, settings: Settings, progress: Progress | None = None) -> Enhanced:
        """Enhance a picture file that lies in memory into another, of its format unless the settings say otherwise.

        `progress` as of the constructor, for this picture alone. Raises PictureError, SettingsError.
        """
        progress = progress or self._progress
        started = time.monotonic()
        self.check(settings)
        picture = _opened(content, settings)
        format = images.refuse_unwritable(picture, settings.format, settings.quality)
        pixels = Source.of_image(picture)
        plan = self._plan(pixels, settings, progress)
        lost: tuple[str, ...] = ()
        if _stays_as_it_is(picture, format, settings):
            progress(1.0)
            result = content
        else:
            result, lost = images.encode_image(
                self._render(pixels, plan, settings, progress),
                picture,
                format=format,
                quality=settings.quality,
                provenance=self._provenance(settings),
                strip_location=settings.strip_location,
            )
        return Enhanced(result, format, **self._facts(picture, pixels, plan, settings, started, lost))

    def check(self, settings: Settings) -> None:
        """Raises SettingsError where these weights cannot do what is asked for."""
        answered_at_once = {
            "keep-exposure": settings.keep_exposure, "denoise": settings.denoise != "auto",
            "denoise-colour": settings.denoise_colour is not None, "mood": settings.mood != "day",
            "match": settings.match is not None, "warmth": settings.warmth != 0,
        }  # fmt: skip
        chosen = [name for name, given in answered_at_once.items() if given]
        if chosen and not self.card.takes_exposure:
            raise SettingsError(
                f"The weights {self.card.name} answer exposure and noise at once, so {' and '.join(chosen)} cannot "
                "be chosen; leave them out, or use weights that take an exposure."
            )

    def _enhance_array(
        self, array: Pixels, settings: Settings, orientation: int = 1, icc: bytes | None = None
    ) -> Pixels:
        bands = self._bands(Source.of(_as_bands(array, settings.clip), orientation, icc), settings)
        return np.concatenate(list(bands)).reshape(array.shape)

    def _enhance_pil(self, image: Any, settings: Settings) -> Any:
        """Pixels as they are stored, orientation and all else that the image says stay."""
        orientation = _orientation_of_pil(image)
        # a profile holds for the mode that the image has, not for the one that it is turned into
        icc = image.info.get("icc_profile") if image.mode in PLAIN_MODES else None
        enhanced = self._enhance_array(np.asarray(_plain_pil(image)), settings, orientation, icc)
        result = sys.modules["PIL.Image"].fromarray(enhanced)
        result.info = {name: value for name, value in image.info.items() if name != "transparency"}
        if _orientation_of_pil(result) != orientation:  # a TIFF's is not in its info
            result.getexif()[ORIENTATION] = orientation
        return result

    def _bands(self, source: Source, settings: Settings) -> Iterator[Pixels]:
        return self._render(source, self._plan(source, settings, self._progress), settings, self._progress)

    def _plan(self, source: Source, settings: Settings, progress: Progress) -> RenderPlan:
        return plan_image(
            source, self.runtime, self.card, settings, target_mean=target_mean_of(settings), progress=progress
        )

    def _render(self, source: Source, plan: RenderPlan, settings: Settings, progress: Progress) -> Iterator[Pixels]:
        yield from render(source, plan, self.runtime, self.card, settings, progress)
        progress(1.0)  # whoever takes the bands writes nothing before the last: here somebody may still cancel

    def _facts(
        self,
        picture: images.Image,
        source: Source,
        plan: RenderPlan,
        settings: Settings,
        started: float,
        lost: tuple[str, ...],
    ) -> dict[str, Any]:
        """The fields of an `Account`; `lost` are sentences about what the new file cannot hold."""
        width, height = images.upright_size(picture.header)
        return {
            "width": width, "height": height, "proposed_stops": plan.proposed_stops,
            "stops": mean_stops_of(plan, settings), "seconds": time.monotonic() - started, "settings": settings,
            "precision": self.runtime.precision, "remarks": (*picture.remarks, *source.remarks, *lost),
        }  # fmt: skip

    def _provenance(self, settings: Settings) -> str | None:
        if not settings.provenance:
            return None
        computed = "" if self.runtime.precision == "f32" else f" in {self.runtime.precision}"
        weights = f"weights {self.card.name} {self.card.sha256}{computed}"
        return f"mirnet {__version__}; {weights}; {settings.described()}"


def mean_stops_of(plan: RenderPlan, settings: Settings) -> float:
    """The stops that a picture was given, in the mean."""
    return settings.exposure if plan.stops is None else float(plan.stops.mean())


def default_target(path: Path, wished: str | None = None) -> Path:
    """Where the result of a file goes when nobody says: NAME.bright.EXT beside it, EXT that of its result's format."""
    return path.with_name(result_name(f"{path.stem}.bright{path.suffix}", wished))


def target_mean_of(settings: Settings) -> float | None:
    """The mean of sRGB-encoded values that a result shall have: that of the photo to match; None without one."""
    match settings.match:
        case Path() as path:
            return _mean_of_file(path, settings.max_megapixels)
        case bytes() as content:  # not remembered: that would keep somebody's photo in memory
            return _mean_of_photo(content, settings.max_megapixels)
    return None


@lru_cache(maxsize=4)
def _mean_of_file(photo: Path, max_megapixels: float) -> float:
    return _mean_of_photo(photo, max_megapixels)


def _mean_of_photo(photo: Path | bytes, max_megapixels: float) -> float:
    return measure_mean(Source.of_image(images.open_image(photo, max_megapixels=max_megapixels)))


def _opened(source: Path | bytes, settings: Settings) -> images.Image:
    return images.open_image(source, max_megapixels=settings.max_megapixels, clip=settings.clip)


def _stays_as_it_is(picture: images.Image, format: str, settings: Settings) -> bool:
    """Whether nothing is asked for that would change a byte."""
    return settings.strength == 0 and format == picture.header.format and not settings.strip_location


def _settings(given: dict[str, Any]) -> Settings:
    known = [field.name for field in fields(Settings)]
    unknown = sorted(given.keys() - set(known))
    if unknown:
        raise SettingsError(f"There is no setting {', '.join(unknown)}; expected some of {', '.join(known)}.")
    return Settings(**given)


def _refuse_existing(source: Path, target: Path, settings: Settings) -> None:
    if not target.exists():
        return
    if source.exists() and target.samefile(source):
        raise SettingsError(f"{target}: is the original itself, which is never replaced; choose another output.")
    if not settings.overwrite:
        raise OutputExists(
            f"{target}: is there already and was left alone; to replace it ask for that (--overwrite, overwrite=True)."
        )


def _format(picture: images.Image, source: Path, target: Path, settings: Settings) -> str | None:
    """As asked for; else by content where source and target agree in their suffix, even if that lies; else as the
    target's suffix says. None for what belongs to the content."""
    wished = images.format_of_suffix(target.suffix)
    stays = wished is None or wished == images.format_of_suffix(source.suffix)
    return settings.format or (None if stays else wished)


def _as_bands(array: Pixels, clip: bool = False) -> Pixels:
    """(H, W, C) of an array as people have them. Raises PictureError with what is wrong."""
    if array.ndim not in (2, 3) or 0 in array.shape or (array.ndim == 3 and array.shape[2] not in (1, 2, 3, 4)):
        raise PictureError(f"Expected an array (H, W), (H, W, 3) or (H, W, 4), not of shape {array.shape}.")
    if array.dtype not in (np.uint8, np.uint16) and array.dtype.kind != "f":
        raise PictureError(f"Expected uint8, uint16 or float in [0, 1], not {array.dtype}.")
    if array.dtype.kind == "f" and clip:
        array = np.clip(np.nan_to_num(array, nan=0.0, posinf=1.0, neginf=0.0), 0, 1)
    elif array.dtype.kind == "f":
        low, high = float(array.min()), float(array.max())
        if not (low >= 0 and high <= 1):  # also refuses NaN
            raise PictureError(
                f"Expected floats in [0, 1]; these lie in {low:g} to {high:g}. Scale or clip them first (clip=True)."
            )
    return array[:, :, None] if array.ndim == 2 else array


def _is_pil(x: Any) -> bool:
    """Whether it is an image of PIL's, which we don't import ourselves: who has one has imported it."""
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(x, module.Image)


def _plain_pil(image: Any) -> Any:
    """A PIL image in a mode whose pixels are plain numbers. Raises PictureError for what holds no picture values."""
    if image.mode in PLAIN_MODES:
        return image
    if image.mode == "P":
        return image.convert("RGBA" if "transparency" in image.info else "RGB")
    if image.mode not in TO_PLAIN:
        raise PictureError(f"Expected a PIL image of 8 or 16 bit, not of mode {image.mode}; convert it first.")
    return image.convert(TO_PLAIN[image.mode])


def _orientation_of_pil(image: Any) -> int:
    """The EXIF tag, 1 to 8; 1 where there is none."""
    orientation = image.getexif().get(ORIENTATION, 1)
    return orientation if orientation in range(1, 9) else 1


@lru_cache(maxsize=1)
def _default() -> Enhancer:
    return Enhancer()


def enhance(x: Any, *, strength: float = 1.0, exposure: float = 0.0, denoise: float | Literal["auto"] = "auto",
            **settings: Any) -> Any:  # fmt: skip
    """One picture, enhanced with the default weights: a path, bytes, array or PIL image; see `Enhancer.enhance`.

    The network is loaded once and kept; for other weights or devices make an `Enhancer`.
    """
    return _default().enhance(x, strength=strength, exposure=exposure, denoise=denoise, **settings)
