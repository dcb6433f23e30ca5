"""The scene statistics of an image: what the network's global averages are, measured on a few crops.

The network looks at an image as a whole through averages. Tiles share one set of these, so that no tile shows. On
large images they are measured on native-resolution crops from all over the image, on small ones on the whole. They
depend on the image and its stops alone: never on tiles, memory or threads.
"""

from dataclasses import dataclass

import numpy as np

from mirnet.inference import tiles
from mirnet.inference.blending import Floats, Pixels, expose_tile
from mirnet.inference.catalog import Card
from mirnet.inference.runtimes import Runtime
from mirnet.inference.source import ImageSource

# Of large images: 16 crops, 0.6 megapixels. On twelve megapixels of 48 different dark photos the result is then 52.0 dB
# away from one with the statistics of every pixel, on one photo 56.4 and on another 53.9 dB; 64 crops of 96 px, the
# same work, have too little around each pixel: 49.3, 44.9 and 45.7 dB; 9 of 256 px too few places: 45.7, 55.9 and 56.8.
# (benchmarks/seams.py, last rows, with these constants changed and the weights of 2026-11-28; the other photo by a
# script that was not kept.)
SAMPLE_PX, SAMPLES_PER_SIDE = 192, 4


@dataclass(frozen=True)
class SceneStatistics:
    """What the network makes of the samples of an image."""

    vector: Floats  # (K,): the averages that all tiles share
    mean_change: float  # of the encoded values, by the network
    brightness_factor: float  # times this, restored values have the mean that the network's input had


def compute_brightness_factor(network_input: Floats, restored: Floats) -> float:
    """The factor that gives the restored values the mean of the network's input, within 0.8 to 1.25."""
    after = float(np.clip(restored, 0, 1).mean(dtype=np.float64))
    before = float(network_input.mean(dtype=np.float64))
    return float(np.clip(before / after, 0.8, 1.25)) if after > 0 else 1.0


class SceneSamples:
    """Collects crops on an even grid that touches all sides of an image; the whole of a small image."""

    def __init__(self, source: ImageSource) -> None:
        self._source = source
        self._crop = (source.height, source.width) if source.fits_one_piece else (
            min(SAMPLE_PX, source.height), min(SAMPLE_PX, source.width)
        )  # fmt: skip
        tops, lefts = (
            tiles.sample_starts(side, crop, SAMPLES_PER_SIDE)
            for side, crop in zip((source.height, source.width), self._crop, strict=True)
        )
        self._places = [(top, left) for top in tops for left in lefts]
        self._crops: list[Pixels] = []

    def add(self, top: int, band: Pixels) -> None:
        """Take what the crops need of the rows from `top` on, (rows, width, channels) as the image stores them."""
        if not self._crops:
            shape = (*self._crop, band.shape[2])
            self._crops = [np.zeros(shape, dtype=band.dtype) for _ in self._places]
        for crop, (crop_top, left) in zip(self._crops, self._places, strict=True):
            first, last = max(crop_top, top), min(crop_top + self._crop[0], top + len(band))
            if first < last:
                crop[first - crop_top : last - crop_top] = band[first - top : last - top, left : left + self._crop[1]]

    def measure_scene(self, runtime: Runtime, card: Card, stops: Floats | None, warmth: float) -> SceneStatistics:
        """The statistics of all crops together, exposed by a map of stops (h, w) and by `warmth`."""
        inputs, maps = [], []
        for crop, (top, left) in zip(self._crops, self._places, strict=True):
            rows, columns = slice(top, top + self._crop[0]), slice(left, left + self._crop[1])
            crop_stops = self._source.stops_in_window(stops, rows, columns)
            exposed = expose_tile(crop, crop_stops, warmth, self._source.space).srgb
            inputs.append(tiles.pad_to_multiple(exposed[None], card.size_multiple))
            if crop_stops is not None:
                maps.append(tiles.pad_to_multiple(crop_stops[None, None], card.size_multiple))
        network_input = np.concatenate(inputs)
        restored, vector = runtime.restore(network_input, np.concatenate(maps) if maps else None, None)
        change = float(np.clip(restored, 0, 1).mean(dtype=np.float64) - network_input.mean(dtype=np.float64))
        return SceneStatistics(vector, change, compute_brightness_factor(network_input, restored))
