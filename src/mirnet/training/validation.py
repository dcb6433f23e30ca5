"""Validation: scores of a network on whole held-out images."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor

from mirnet import metrics
from mirnet.datasets.reading import read_rgb, to_unit
from mirnet.exposure import expose
from mirnet.network import Lite, SceneNetwork
from mirnet.network.lite import spread
from mirnet.pairs import Pair
from mirnet.thumbnail import make_thumbnail

ImageArray = NDArray[np.float32]  # (H, W, 3) in [0, 1]
Render = Callable[[float], ImageArray]  # the 8-bit rounded result with so many stops added to the proposal


@dataclass(frozen=True)
class Scores:
    """Means over whole images, 8-bit rounded, range 1; NaN where a network takes no exposure."""

    psnr: float
    ssim: float
    psnr_gt_mean: float
    psnr_true_exposure: float = math.nan
    ssim_true_exposure: float = math.nan
    stops_error_rms: float = math.nan
    validation_loss: float = math.nan  # the training loss, at the target's exposure

    def __str__(self) -> str:
        plain = f"{self.psnr:.2f} dB, SSIM {self.ssim:.3f}, GT-mean {self.psnr_gt_mean:.2f} dB"
        if math.isnan(self.psnr_true_exposure):
            return plain
        return (
            f"{plain}; {self.psnr_true_exposure:.2f} dB at the truth's exposure, "
            f"which the proposal misses by {self.stops_error_rms:.2f} stops (RMS)"
        )

    @property
    def deciding(self) -> float:
        """The score that decides which checkpoint is best: PSNR at the target's exposure, else plain PSNR."""
        return self.psnr if math.isnan(self.psnr_true_exposure) else self.psnr_true_exposure


@torch.inference_mode()
def validate(network: SceneNetwork, pairs: Sequence[Pair], device: torch.device, *,
             loss: Callable[[Tensor, Tensor], Tensor], progress: Callable[[float], None] = lambda done: None,
             stop: Callable[[], bool] = lambda: False, fabric: Fabric | None = None) -> Scores | None:  # fmt: skip
    """The mean scores of all pairs, at least one; None where `stop()` came true between two images.

    The processes of a `fabric` share the pairs, each is scored once; several processes finish what they began.
    """
    rank, world = (fabric.global_rank, fabric.world_size) if fabric else (0, 1)
    columns = tuple(Scores.__dataclass_fields__)
    table = torch.zeros(len(pairs), len(columns), dtype=torch.float32 if device.type == "mps" else torch.float64)
    for number in range(rank, len(pairs), world):
        if world == 1 and stop():
            return None
        score = _score(network, pairs[number], device, loss)
        table[number] = torch.tensor([getattr(score, name) for name in columns])
        progress((number + 1) / len(pairs))
    if fabric and world > 1:
        reduced = fabric.all_reduce(table.to(device), reduce_op="sum")  # a row is filled by one process alone
        assert isinstance(reduced, Tensor)
        table = reduced.cpu()
    means = dict(zip(columns, table.mean(0).tolist(), strict=True))
    means["stops_error_rms"] = float((table[:, columns.index("stops_error_rms")] ** 2).mean().sqrt())
    return Scores(**means)


def _score(network: SceneNetwork, pair: Pair, device: torch.device, loss: Callable[[Tensor, Tensor], Tensor]) -> Scores:
    """Of one image; its `stops_error_rms` is its error, with a sign."""
    dark, truth = to_unit(read_rgb(pair.dark)), to_unit(read_rgb(pair.bright))
    render = renderer(network, dark, device)
    result = render(0.0)
    psnr, ssim = metrics.psnr(result, truth), metrics.ssim(result, truth)
    psnr_gt_mean = metrics.psnr(metrics.scale_to_gt_mean(result, truth), truth)
    if not isinstance(network, Lite):
        return Scores(psnr, ssim, psnr_gt_mean, validation_loss=_loss(loss, result, truth))
    true = metrics.score_at_ground_truth_exposure(render, result, truth)
    return Scores(
        psnr, ssim, psnr_gt_mean, metrics.psnr(true.result, truth), metrics.ssim(true.result, truth), true.error_stops,
        _loss(loss, true.result, truth),
    )  # fmt: skip


def _loss(loss: Callable[[Tensor, Tensor], Tensor], result: metrics.ImageArray, truth: ImageArray) -> float:
    return float(loss(*(to_tensor(picture, torch.device("cpu")) for picture in (result, truth))))


@torch.inference_mode()
def renderer(network: SceneNetwork, dark: ImageArray, device: torch.device) -> Render:
    """A function of added stops that enhances a dark image; networks without exposure ignore the stops."""
    if not isinstance(network, Lite):
        result = metrics.round_to_8_bit(_to_array(network(to_tensor(dark, device))))
        return lambda added: result

    proposal = network.propose(to_tensor(make_thumbnail(dark), device)).cpu()
    stops_map = spread(proposal, *dark.shape[:2])[0, 0].numpy()

    @torch.inference_mode()
    def render(added: float) -> ImageArray:
        stops = stops_map + np.float32(added)
        exposed = expose(dark, stops[:, :, None])
        result = network(to_tensor(exposed, device), torch.from_numpy(stops)[None, None].to(device))
        return metrics.round_to_8_bit(_to_array(result))

    return render


def to_tensor(picture: metrics.ImageArray, device: torch.device) -> Tensor:  # (H, W, 3) -> (1, 3, H, W)
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1), dtype=np.float32))[None].to(device)


def _to_array(pictures: Tensor) -> ImageArray:  # (1, 3, H, W) -> (H, W, 3)
    return pictures[0].permute(1, 2, 0).cpu().numpy()
