"""`Enhancer`: dark pictures of any kind in, bright ones of the same kind out; holds its network for many of them."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

import mirnet
from mirnet import images
from mirnet.errors import OutputExists, PictureError, SettingsError
from mirnet.inference import catalog
from mirnet.inference.render import Pixels, Plan, Source, look, render
from mirnet.inference.runtimes import OpenVINORuntime, Runtime
from mirnet.inference.settings import Settings

Progress = Callable[[float], None]


@dataclass(frozen=True)
class Report:
    """What happened to one file: its output, the stops proposed and given, seconds, and remarks for the person."""

    output: Path
    width: int
    height: int
    proposed_stops: float
    stops: float
    seconds: float
    remarks: tuple[str, ...] = ()


class Enhancer:
    """A network, ready for many pictures; safe to use from several threads.

    `weights` is the name of installed weights or the path of an ONNX file with its card; `device` as
    OpenVINO names it; `threads` None for all cores. `progress(done)` is called with 0 to 1 for each
    picture and may raise `mirnet.Cancelled`: a file then stays unwritten. Raises WeightsError, SettingsError.
    """

    def __init__(self, weights: str | Path = "lite", *, device: str = "cpu", threads: int | None = None,
                 progress: Progress = lambda done: None, runtime: Runtime | None = None) -> None:  # fmt: skip
        if threads is not None and threads < 1:
            raise SettingsError(f"threads must be at least 1, not {threads}.")
        self.weights = catalog.find(weights)
        self.card = self.weights.card
        self._progress = progress
        self.runtime = runtime or OpenVINORuntime(self.weights.verified(), self.card.scene_size, device, threads)

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
        match x:
            case str() | Path():
                return self.enhance_file(Path(x), beside(Path(x)), wished).output
            case bytes():
                return self._enhance_bytes(x, wished)
            case np.ndarray():
                return self._enhance_array(x, wished)
        if type(x).__module__.startswith("PIL."):
            return self._enhance_pil(x, wished)
        raise SettingsError(f"Expected a path, bytes, a numpy array or a PIL image, not {type(x).__name__}.")

    def propose(self, x: Any) -> float:
        """The proposed stops, in the mean over a path's, bytes', array's or PIL image's picture; 0 without exposure."""
        match x:
            case str() | Path() | bytes():
                source = _source(images.open_picture(Path(x) if isinstance(x, str) else x))
            case np.ndarray():
                source = Source.of(_as_bands(x))
            case _:
                source = Source.of(_as_bands(np.asarray(_plain_pil(x))))
        return look(source, self.runtime, self.card, Settings()).mean_proposal

    def enhance_file(self, source: Path, target: Path, settings: Settings) -> Report:
        """Enhance one file into another, which is written beside itself and renamed into place."""
        started = time.monotonic()
        self.check(settings)
        if target.exists() and not settings.overwrite:
            raise OutputExists(f"{target}: is there already and was left alone; pass --overwrite to replace it.")
        if target.exists() and target.samefile(source):
            raise SettingsError(f"{target}: is the original itself, which is never replaced; choose another output.")
        picture = images.open_picture(source)
        format = images.format_of_suffix(target.suffix) or picture.header.format
        shape = _source(picture)
        if settings.strength == 0 and format == picture.header.format:
            images.copy_file(source, target, overwrite=settings.overwrite)
            plan = look(shape, self.runtime, self.card, settings)
        else:
            plan = look(shape, self.runtime, self.card, settings)
            bands = render(shape, plan, self.runtime, self.card, settings, self._progress)
            images.save_picture(target, bands, picture, format=format, quality=settings.quality,
                                provenance=self._provenance(settings), overwrite=settings.overwrite)  # fmt: skip
        self._progress(1.0)
        size = images.upright_size(picture.header)
        return Report(target, *size, plan.mean_proposal, got_stops(plan, settings), time.monotonic() - started,
                      picture.remarks)  # fmt: skip

    def _enhance_bytes(self, content: bytes, settings: Settings) -> bytes:
        picture = images.open_picture(content)
        if settings.strength == 0:
            return content
        bands = self._bands(_source(picture), settings)
        return images.write_picture(bands, picture, quality=settings.quality, provenance=self._provenance(settings))

    def _enhance_array(self, array: Pixels, settings: Settings) -> Pixels:
        bands = _as_bands(array)
        if settings.strength == 0:
            self.check(settings)
            return array.copy()
        enhanced = np.concatenate(list(self._bands(Source.of(bands), settings)))
        return enhanced.reshape(array.shape)

    def _enhance_pil(self, image: Any, settings: Settings) -> Any:
        plain = _plain_pil(image)
        enhanced = self._enhance_array(np.asarray(plain), settings)
        return sys.modules["PIL.Image"].fromarray(enhanced)

    def _bands(self, source: Source, settings: Settings) -> Any:
        self.check(settings)
        plan = look(source, self.runtime, self.card, settings)
        return render(source, plan, self.runtime, self.card, settings, self._progress)

    def check(self, settings: Settings) -> None:
        if not self.card.takes_exposure and (settings.keep_exposure or settings.denoise != "auto"):
            raise SettingsError(
                f"The weights {self.card.name} answer exposure and noise at once, so keep-exposure and denoise cannot "
                "be chosen; leave them out, or use weights that take an exposure."
            )

    def _provenance(self, settings: Settings) -> str | None:
        if not settings.provenance:
            return None
        return f"mirnet {mirnet.__version__}; weights {self.card.name} {self.card.sha256}; {settings.described()}"


def got_stops(plan: Plan, settings: Settings) -> float:
    """The mean stops that a picture was given."""
    return settings.exposure if plan.stops is None else float(plan.stops.mean())


def beside(path: Path) -> Path:
    """Where the result of a file goes when nobody says: NAME.bright.EXT beside it."""
    return path.with_name(f"{path.stem}.bright{path.suffix}")


def _settings(given: dict[str, Any]) -> Settings:
    unknown = sorted(given.keys() - Settings.__dataclass_fields__.keys())
    if unknown:
        known = ", ".join(Settings.__dataclass_fields__)
        raise SettingsError(f"There is no setting {', '.join(unknown)}; expected some of {known}.")
    return Settings(**given)


def _source(picture: images.Picture) -> Source:
    header = picture.header
    return Source(
        header.height, header.width, picture.bands,
        lambda x: images.upright(x, header.orientation), lambda x: images.stored(x, header.orientation),
    )  # fmt: skip


def _as_bands(array: Pixels) -> Pixels:
    """(H, W, C) of an array as people have them. Raises PictureError with what is wrong."""
    if array.ndim not in (2, 3) or 0 in array.shape or (array.ndim == 3 and array.shape[2] not in (1, 2, 3, 4)):
        raise PictureError(f"Expected an array (H, W), (H, W, 3) or (H, W, 4), not of shape {array.shape}.")
    if array.dtype not in (np.uint8, np.uint16) and array.dtype.kind != "f":
        raise PictureError(f"Expected uint8, uint16 or float in [0, 1], not {array.dtype}.")
    if array.dtype.kind == "f":
        low, high = float(array.min()), float(array.max())
        if not (low >= 0 and high <= 1):  # also refuses NaN
            raise PictureError(
                f"Expected floats in [0, 1]; these lie in {low:g} to {high:g}. Scale or clip them first."
            )
    return array[:, :, None] if array.ndim == 2 else array


def _plain_pil(image: Any) -> Any:
    """A PIL image in a mode whose pixels are plain numbers: palettes and rarer modes become RGB or RGBA."""
    if image.mode in ("L", "RGB", "RGBA", "I;16", "LA"):
        return image
    return image.convert("RGBA" if "A" in image.mode or "transparency" in image.info else "RGB")


@lru_cache(maxsize=1)
def _default() -> Enhancer:
    return Enhancer()


def enhance(x: Any, *, strength: float = 1.0, exposure: float = 0.0, denoise: float | Literal["auto"] = "auto",
            **settings: Any) -> Any:  # fmt: skip
    """One picture, enhanced with the default weights: a path, bytes, array or PIL image; see `Enhancer.enhance`.

    The network is loaded once and kept; for other weights or devices make an `Enhancer`.
    """
    return _default().enhance(x, strength=strength, exposure=exposure, denoise=denoise, **settings)
