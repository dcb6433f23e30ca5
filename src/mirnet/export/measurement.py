"""What an export measures of a network: its cost, the tile overlap that it needs, and its parity with the ONNX file."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mirnet.errors import TrainingError
from mirnet.exposure import expose
from mirnet.inference import tiles
from mirnet.inference.runtimes import OpenVINORuntime
from mirnet.network import Lite, SceneNetwork, from_config

TOLERANCE = 1e-4  # of OpenVINO against torch, values in [0, 1]
SEAM = 4e-4  # of tiles against the whole image, values in [0, 1]: a tenth of an 8-bit step
MOST_OVERLAP_PX = 384
PARITY_SIZES = ((61, 83), (40, 129))  # odd on purpose: padding is compared too


def count_kflop_per_px(network: SceneNetwork) -> float:
    """Thousands of floating-point operations per pixel, as torch counts them at 512x512; a multiply-add counts as two.

    The exposure head is not counted.
    """
    inputs = [
        torch.empty(1, channels, 512, 512, device="meta")
        for channels in ((3, 1) if isinstance(network, Lite) else (3,))
    ]
    with torch.device("meta"):
        meta_network = from_config(network.config)  # type: ignore[arg-type]
    with FlopCounterMode(display=False) as counter:
        meta_network(*inputs)
    return counter.get_total_flops() / 512**2 / 1e3


def make_example_inputs(network: SceneNetwork, height: int, width: int, count: int = 1) -> tuple[Tensor, ...]:
    """Seeded network inputs: `count` dark images (count, 3, height, width) in [0, 1], smooth shapes with noise.

    They are 5 stops too dark. A network that takes an exposure gets them brightened, with the stops (count, 1, height,
    width) as a second tensor.
    """
    random = np.random.default_rng(0)
    coarse = torch.from_numpy(random.random((count, 3, max(height // 16, 2), max(width // 16, 2)), dtype=np.float32))
    smooth = nn.functional.interpolate(coarse, size=(height, width), mode="bicubic").clamp(0, 1)
    dark = expose(smooth.numpy(), np.float32(-5))
    dark = np.clip(np.round((dark + random.normal(0, 0.01, dark.shape)) * 255) / 255, 0, 1).astype(np.float32)
    if not isinstance(network, Lite):
        return (torch.from_numpy(dark),)
    stops = np.full((count, 1, height, width), 5, dtype=np.float32)
    return torch.from_numpy(expose(dark, stops)), torch.from_numpy(stops)


@torch.inference_mode()
def measure_overlap(network: SceneNetwork, tile_px: int = 32, limit_px: int = 96) -> int:
    """The tile overlap in pixels, a multiple of 8, with which a tile equals the whole image to 4e-4.

    A tile in the middle of six images is rendered with the scene vector of the whole images and more and more
    surroundings; a single image did not show the places where the receptive field is largest. Images with `limit_px`
    around the tile decide up to half of that; beyond, larger images are rendered. Raises TrainingError where 384 pixels
    are not enough.
    """
    side = tile_px + 2 * limit_px
    inputs = make_example_inputs(network, side, side, count=6)
    scene = network.measure_scene(*inputs)
    whole = network.render(scene, *inputs)[:, :, limit_px:-limit_px, limit_px:-limit_px]
    step = max(8, network.size_multiple)
    for overlap in range(step, limit_px // 2 + 1, step):
        window = slice(limit_px - overlap, side - limit_px + overlap)
        tile = network.render(scene, *(x[..., window, window] for x in inputs))[..., overlap:-overlap, overlap:-overlap]
        if float((tile - whole).abs().max()) <= SEAM:
            return overlap
    if limit_px > 2 * MOST_OVERLAP_PX:
        raise TrainingError(
            f"Tiles differ from the whole image even with {MOST_OVERLAP_PX} pixels around them; this network cannot "
            "run in tiles."
        )
    return measure_overlap(network, tile_px, 2 * limit_px)


@torch.inference_mode()
def measure_parity(network: SceneNetwork, content: bytes) -> float:
    """The largest difference between torch and the ONNX file `content` in OpenVINO, for values in [0, 1].

    Images of odd sizes are restored with their own scene vector and with a given one; the scene vector and the exposure
    head's map are compared too. Raises TrainingError above 1e-4.
    """
    runtime = OpenVINORuntime(content, network.scene_size())
    differences = []
    for height, width in PARITY_SIZES:
        inputs = make_example_inputs(network, height, width)
        padded = [tiles.pad_to_multiple(x.numpy(), network.size_multiple) for x in inputs]
        image, stops = padded[0], padded[1] if len(padded) > 1 else None
        restored, scene = runtime.restore(image, stops, None)
        again, _ = runtime.restore(image, stops, scene)
        expected = network(*inputs)
        differences.append(_largest_difference(scene, network.measure_scene(*inputs)))
        differences += [_largest_difference(result[:, :, :height, :width], expected) for result in (restored, again)]
    if isinstance(network, Lite):
        thumbnail = make_example_inputs(network, 64, 96)[0]
        differences.append(_largest_difference(runtime.propose(thumbnail.numpy()), network.propose(thumbnail)))
    worst = max(differences)
    if not worst <= TOLERANCE:
        raise TrainingError(
            f"The exported network differs from torch by {worst:.2g} in OpenVINO, more than {TOLERANCE:g}; "
            "nothing was written."
        )
    return float(f"{worst:.2g}")


def _largest_difference(a: np.ndarray[Any, Any], b: Tensor) -> float:
    return float(np.abs(a - b.numpy()).max())
