"""Losses: functions of two tensors (N, C, H, W) in [0, 1] to one number."""

import torch
import torch.nn.functional as F
from torch import Tensor


def charbonnier(result: Tensor, target: Tensor, epsilon: float = 1e-3) -> Tensor:
    """sqrt(difference² + epsilon²), averaged (Charbonnier et al. 1994; MIRNet, section 3.4, equation 1)."""
    return torch.sqrt((result - target) ** 2 + epsilon**2).mean()


def dissimilarity(result: Tensor, target: Tensor) -> Tensor:
    """1 - SSIM (Wang et al. 2004): Gaussian window 11, sigma 1.5, range 1, population covariance, mean of channels."""
    channels = result.shape[1]
    offsets = torch.arange(11, device=result.device, dtype=result.dtype) - 5
    window = torch.exp(-(offsets**2) / (2 * 1.5**2))
    window = (window / window.sum()).expand(5 * channels, 1, 1, 11)

    moments = torch.cat([result, target, result * result, target * target, result * target], 1)
    moments = F.conv2d(moments, window, groups=5 * channels)
    moments = F.conv2d(moments, window.transpose(2, 3), groups=5 * channels)
    a, b, aa, bb, ab = moments.split(channels, 1)
    c1, c2 = 0.01**2, 0.03**2
    ssim = ((2 * a * b + c1) * (2 * (ab - a * b) + c2)) / ((a * a + b * b + c1) * (aa - a * a + bb - b * b + c2))
    return 1 - ssim.mean()


def absolute(result: Tensor, target: Tensor) -> Tensor:
    """The mean of the absolute differences (L1)."""
    return (result - target).abs().mean()


def at_targets_mean(result: Tensor, target: Tensor) -> Tensor:
    """The result (N, 3, H, W) scaled so that each image's mean is its target's, at most eightfold.

    GT-mean loss (Liao et al., ICCV 2025): a loss on this beside the plain one keeps a difference in brightness,
    which is a matter of taste, from drowning what is a matter of restoration.
    """
    means = [picture.mean((1, 2, 3), keepdim=True) for picture in (target, result)]
    return result * (means[0] / means[1].clamp(min=1e-3)).clamp(max=8)


def restoration_loss(result: Tensor, target: Tensor, *, kind: str = "charbonnier", ssim_weight: float = 0.0,
                     gt_mean_weight: float = 0.0) -> Tensor:  # fmt: skip
    """The loss `kind`, "charbonnier" or "l1", a share of it at the target's mean, plus weighted 1 - SSIM.

    Images of less than 11 px have no SSIM.
    """
    distance = {"charbonnier": charbonnier, "l1": absolute}[kind]
    loss = distance(result, target)
    if gt_mean_weight:
        loss = torch.lerp(loss, distance(at_targets_mean(result, target), target), gt_mean_weight)
    if ssim_weight and min(result.shape[2:]) >= 11:
        loss = loss + ssim_weight * dissimilarity(result, target)
    return loss
