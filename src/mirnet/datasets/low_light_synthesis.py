"""The camera model: synthetic low-light images and noisy copies of good photos.

The model goes back to the sensor and comes forward again (Brooks et al., *Unprocessing Images for Learned Raw
Denoising*, CVPR 2019): linear light, less of it, the camera's own colours and white balance, shot and read noise,
interpolation of the Bayer pattern, back to sRGB with a tone curve, 8 bit, and often JPEG. All of it is vectorised
over a batch, on any device, and every draw is a function of its coordinates (`CounterRNG`), which a caller that
describes it (`darken`) draws again.

What it leaves out: the steps of the raw file (near black those of 8-bit sRGB are five times as wide as 14 bit), noise
in rows and columns, what interpolating the Bayer pattern does to the image itself, lenses, and of the denoising in
the camera all but that colour goes first. Clipped highlights are taken to lie just at white, and so have noise, on the
dark side alone.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from mirnet.datasets.counter_rng import CounterRNG, Stream
from mirnet.datasets.pair_store import reflect
from mirnet.network.lite import expose, to_encoded, to_linear

# The calibration of Brooks et al., section 3.1: shot noise of the cameras of the Darmstadt Noise Dataset (variance per
# unit of signal, white at 1) and, in natural logarithms of variances, the line on which their read noise lies.
SHOT = (1e-4, 0.012)
READ_SLOPE, READ_OFFSET, READ_SPREAD = 2.18, 1.20, 0.26
# Their cameras were at every ISO; dark images that are pushed by many stops were taken at moderate ones. So the line
# is followed up only to where shot noise, once pushed, hides a bright surface, and down beyond what they calibrated:
# a pixel of a large sensor that holds 100,000 electrons has 1e-5. What the line says of read noise there is less than
# real, but 8 bit hide it. Both bounds are ours.
SHOT_LEAST, SHOT_PUSHED_MOST = 1e-5, 0.15

# Four cameras' colours, XYZ to camera, of that paper's code (Apache-2.0; they stand in the raw files of the data set).
_XYZ_TO_CAMERA = (
    ((1.0234, -0.2969, -0.2266), (-0.5625, 1.6328, -0.0469), (-0.0703, 0.2188, 0.6406)),
    ((0.4913, -0.0541, -0.0202), (-0.6130, 1.3513, 0.2906), (-0.1564, 0.2151, 0.7183)),
    ((0.8380, -0.2630, -0.0639), (-0.2887, 1.0725, 0.2496), (-0.0627, 0.1427, 0.5438)),
    ((0.6596, -0.2079, -0.0562), (-0.4782, 1.3016, 0.1933), (-0.0970, 0.1581, 0.5181)),
)
_RGB_TO_XYZ = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
RED_GAIN, BLUE_GAIN = (1.9, 2.4), (1.5, 1.9)  # white balance in daylight, as there

BALANCE_SPREAD = 0.25  # stops by which each channel's white balance is off, standard deviation
CURVE = (-0.3, 0.6)  # how much of a smoothstep a camera's tone curve holds: from a flat profile to a contrasty one
# Near black a smoothstep is a mere gain, and cameras differ there: in the exponent of their curve, and in what they
# take for black, each channel for itself. So dark images, once pushed, are too flat or too hard and have shadows
# of another colour than their lights. Both spreads are ours.
BEND_SPREAD, CHANNEL_BEND_SPREAD = 0.2, 0.05  # of log2 of the exponent: of an image, and of a channel beside it
BLACK_SPREAD = (0.001, 0.04)  # of the error of black in linear light, white at 1, once the image is pushed back

MOST_STOPS = 7.0
# Of the images that are darkened, how many are made duller first: the factor of their values, and how much is kept of
# what sets their colours apart from grey. Good photos are livelier than what one finds in dark rooms; but where
# noise hides a colour, a network gives back what it met on average. Ours.
DESATURATED_SHARE, DULLED_TO, DULL_COLOUR = 0.8, (0.75, 0.95), (0.3, 1.0)
MOST_SIGMA = 55 / 255  # of the Gaussian noise in noisy copies, on sRGB values

GRAINS = ("interpolated", "coarse", "free")  # what noise is like: see `photographed`
GRAIN_SHARES = (0.3, 0.2, 0.5)  # most images that one is sent were shrunk, and then no pixel knows its neighbour's
# What is left of the noise's colour: cameras take that away first, so that most images have more noise in their
# lightness, where the matrix back to sRGB alone would leave more in their colour. Ours.
COLOUR_KEPT = (0.0, 1.0)
_LUMINANCE = _RGB_TO_XYZ[1]
JPEG_QUALITY = (60, 98)

_BAYER = torch.tensor([[[1.0, 0], [0, 0]], [[0, 1], [1, 0]], [[0, 0], [0, 1]]])  # red, green, blue of a 2x2 cell
_BILINEAR = (
    torch.tensor(  # what completes each colour from its neighbours (N, 1, 3, 3)
        [[[1.0, 2, 1], [2, 4, 2], [1, 2, 1]], [[0, 1, 0], [1, 4, 1], [0, 1, 0]], [[1, 2, 1], [2, 4, 2], [1, 2, 1]]]
    )[:, None]
    / 4
)


@dataclass(frozen=True)
class Camera:
    """The cameras of a batch: colours, and noise as a share of white."""

    from_srgb: Tensor  # (B, 3, 3): linear sRGB to the camera's own colours, white to its unbalanced white
    to_srgb: Tensor
    shot: Tensor  # (B,): variance of the noise per unit of signal
    read: Tensor  # (B,): its standard deviation in the dark

    @staticmethod
    def draw(rng: CounterRNG, stops: Tensor) -> "Camera":
        """Draw cameras for images that are `stops` (B,) too dark, without noise so strong that it would hide them."""
        device = rng.index.device
        shares = rng.uniform(Stream.CAMERA_COLOURS, len(_XYZ_TO_CAMERA))
        xyz_to_camera = torch.tensor(_XYZ_TO_CAMERA, device=device)
        mixed = torch.einsum("bk,kij->bij", shares / shares.sum(1, keepdim=True), xyz_to_camera)
        colours = mixed @ torch.tensor(_RGB_TO_XYZ, device=device)
        colours = colours / colours.sum(2, keepdim=True)  # grey stays grey
        balance = torch.stack(
            [
                1 / rng.between(Stream.CAMERA_RED_GAIN, *RED_GAIN),
                torch.ones_like(stops),
                1 / rng.between(Stream.CAMERA_BLUE_GAIN, *BLUE_GAIN),
            ],
            1,
        )
        from_srgb = balance[:, :, None] * colours
        least = math.log(SHOT_LEAST)
        most = torch.log((SHOT_PUSHED_MOST * torch.exp2(-stops)).clamp(max=SHOT[1]))
        log_shot = least + (most - least) * rng.uniform(Stream.SHOT_NOISE)
        log_read = READ_SLOPE * log_shot + READ_OFFSET + READ_SPREAD * rng.normal(Stream.READ_NOISE)
        # inverted on the CPU: a GPU's solver would load a library for nine numbers
        return Camera(from_srgb, torch.linalg.inv(from_srgb.cpu()).to(device), log_shot.exp(), (log_read / 2).exp())


@dataclass(frozen=True)
class Rendering:
    """How the cameras of a batch render what they measured: white balance, tone curve, black level."""

    balance: Tensor  # (B, 3): stops by which the white balance is off
    curve: Tensor  # (B,): how much of a smoothstep the tone curve holds
    bend: Tensor  # (B, 3): log2 of the exponent on the values of each channel
    black: Tensor  # (B, 3): what is added to the light of each channel, for black is never where it should be

    @staticmethod
    def draw(rng: CounterRNG, stops: Tensor) -> "Rendering":
        """Draw renderings for images that are `stops` (B,) too dark; the error of black shrinks with the exposure."""
        bend = BEND_SPREAD * rng.normal(Stream.BEND)[:, None] + CHANNEL_BEND_SPREAD * rng.normal(Stream.CHANNEL_BEND, 3)
        least, most = (math.log(spread) for spread in BLACK_SPREAD)
        spread = rng.between(Stream.BLACK_SPREAD, least, most).exp() * torch.exp2(-stops)
        black = spread[:, None] * rng.normal(Stream.BLACK_LEVEL, 3)
        return Rendering(
            BALANCE_SPREAD * rng.normal(Stream.WHITE_BALANCE, 3), rng.between(Stream.TONE_CURVE, *CURVE), bend, black
        )


def desaturate(bright: Tensor, rng: CounterRNG, share: float = DESATURATED_SHARE) -> Tensor:
    """Images (B, 3, H, W) in [0, 1], some desaturated and dimmed: the targets of their synthetic low-light images.

    255 stays 255 under `expose`, as a lamp does; a blown sky must darken with the rest, so most are below white.
    """
    factor, kept = (each[:, None, None, None] for each in draw_desaturation(rng, share))
    return torch.where(factor < 1, _keep_colour(bright, kept) * factor, bright)


def draw_desaturation(rng: CounterRNG, share: float = DESATURATED_SHARE) -> tuple[Tensor, Tensor]:
    """Draw for each image the factor of its values (B,) and the kept share of its colour (B,); 1 is no change."""
    spared = rng.uniform(Stream.DESATURATED) >= share
    factor, kept = rng.between(Stream.DIMMED_TO, *DULLED_TO), rng.between(Stream.COLOUR_KEPT, *DULL_COLOUR)
    return torch.where(spared, 1.0, factor), torch.where(spared, 1.0, kept)


def darken_images(bright: Tensor, stops: Tensor, rng: CounterRNG) -> Tensor:
    """Images (B, 3, H, W) in [0, 1] as a camera would have taken them `stops` (B, 1, 1, 1) darker.

    White balance is off by N(0, 0.25) stops in each channel, and so is black, and the tone curve differs; what leads
    back to the image's brightness is therefore not exactly `stops`, and is solved as for real pairs
    (`truth.solve_stops`).
    """
    camera, rendering = Camera.draw(rng, stops.reshape(-1)), Rendering.draw(rng, stops.reshape(-1))
    light = to_linear(expose(bright, -stops)) * torch.exp2(rendering.balance)[:, :, None, None]
    taken = _scale_noise(photograph(light, camera, rng) - light, draw_noise_colour(rng)) + light
    taken = taken + rendering.black[:, :, None, None]
    encoded = _apply_exponent(to_encoded(taken.clamp(0, 1)), torch.exp2(rendering.bend)[:, :, None, None])
    curve = rendering.curve[:, None, None, None]
    encoded = encoded + curve * (encoded * encoded * (3 - 2 * encoded) - encoded)
    return round_to_8_bit(encoded)


def _apply_exponent(encoded: Tensor, exponent: Tensor) -> Tensor:
    """Values in [0, 1] to a power, about the mean of each image, which thereby gets no darker; clipped at white."""
    middle = encoded.mean((1, 2, 3), keepdim=True).clamp_min(1 / 255)
    return (middle * (encoded / middle) ** exponent).clamp(max=1)


def _scale_noise(noise: Tensor, kept: Tensor) -> Tensor:
    """Linear noise (B, 3, H, W) with `kept` (B,) of its colour and all of its lightness."""
    return _keep_colour(noise, kept[:, None, None, None])


def _keep_colour(x: Tensor, kept: Tensor) -> Tensor:
    """x (B, 3, H, W) with that share `kept` (B, 1, 1, 1) of what sets its channels apart from their luminance."""
    grey = torch.einsum("j,bjhw->bhw", torch.tensor(_LUMINANCE, device=x.device), x)[:, None]
    return grey + kept * (x - grey)


def draw_noise_colour(rng: CounterRNG) -> Tensor:
    """Draw for each camera how much of the noise's colour it keeps, (B,) in 0 to 1."""
    return rng.between(Stream.NOISE_COLOUR, *COLOUR_KEPT)


def add_camera_noise(clean: Tensor, rng: CounterRNG) -> Tensor:
    """Images (B, 3, H, W) in [0, 1] with noise and no change of exposure, for denoising alone; 8 bit.

    One half with Gaussian noise on sRGB values, sigma from 0 to 55 of 255, clipped and rounded, as denoisers
    are compared; the other half with a camera's.
    """
    camera = Camera.draw(rng, torch.zeros(len(clean), device=clean.device))
    taken = to_encoded(photograph(to_linear(clean), camera, rng).clamp(0, 1))
    gaussian, sigma = draw_sigma(rng)
    return torch.where(gaussian[:, None, None, None], add_gaussian_noise(clean, sigma, rng), round_to_8_bit(taken))


def draw_sigma(rng: CounterRNG) -> tuple[Tensor, Tensor]:
    """Draw which noisy copies have Gaussian noise, (B,) bool, and its sigma (B,), as a share of white."""
    return rng.uniform(Stream.IS_GAUSSIAN) < 0.5, rng.between(Stream.GAUSSIAN_SIGMA, 0, MOST_SIGMA)


def add_gaussian_noise(clean: Tensor, sigma: Tensor, rng: CounterRNG) -> Tensor:
    """Images (B, 3, H, W) in [0, 1] with Gaussian noise of `sigma` (B,) on sRGB values, clipped, 8 bit."""
    return round_to_8_bit(clean + sigma[:, None, None, None] * rng.normal(Stream.GAUSSIAN_NOISE, *clean.shape[1:]))


def photograph(light: Tensor, camera: Camera, rng: CounterRNG) -> Tensor:
    """Add a camera's noise to linear light (B, 3, H, W), in the camera's own colours.

    In 30 % of the images the noise is as it comes from a Bayer pattern that was interpolated, in 20 % coarse, as
    in-camera processing of large images leaves it, in half of them free of its neighbours, as in a shrunk image.
    """
    seen = torch.einsum("bij,bjhw->bihw", camera.from_srgb, light)
    shot, read = camera.shot[:, None, None, None], camera.read[:, None, None, None]
    spread = torch.sqrt(shot * seen.clamp(min=0) + read**2)
    noise = _draw_grain(rng, light.shape[2], light.shape[3])
    return torch.einsum("bij,bjhw->bihw", camera.to_srgb, (seen + spread * noise).clamp(max=1))


def draw_grain_kind(rng: CounterRNG) -> Tensor:
    """Draw the kind of grain of each image, (B,) int64, as indices of `GRAINS`."""
    bounds = torch.tensor(GRAIN_SHARES, device=rng.index.device).cumsum(0)[:2]
    return (rng.uniform(Stream.GRAIN_KIND)[:, None] >= bounds).sum(1)


def _draw_grain(rng: CounterRNG, height: int, width: int) -> Tensor:  # (B, 3, H, W), of spread 0.75 to 1
    margin = 3  # that is cut off again: at a border there is less to interpolate between
    fine = rng.normal(Stream.GRAIN, 3, *(side + side % 2 + 2 * margin for side in (height, width)))
    kind = draw_grain_kind(rng)[:, None, None, None]
    pattern = _BAYER.to(fine.device).repeat(1, fine.shape[2] // 2, fine.shape[3] // 2)
    interpolated = F.conv2d(fine * pattern, _BILINEAR.to(fine.device), padding=1, groups=3)
    # averages of four have half the spread, and interpolating them leaves 5/8 of that
    coarse = F.interpolate(F.avg_pool2d(fine, 2), scale_factor=2.0, mode="bilinear", align_corners=False) * 3
    grain = torch.where(kind == 0, interpolated, torch.where(kind == 1, coarse, fine))
    # both are patterns of 2x2 pixels, and an image may begin at any of the four: a network that has seen
    # one of them alone learns it by heart, and restores an image that was cropped by one pixel worse by up to 6 dB
    # (benchmarks/phases.py)
    down, right = (rng.uniform(Stream.GRAIN_PHASE, 2) < 0.5).T[:, :, None, None, None]
    grain = torch.where(down, grain[:, :, 1:], grain[:, :, :-1])
    grain = torch.where(right, grain[..., 1:], grain[..., :-1])
    return grain[:, :, margin - 1 :, margin - 1 :][:, :, :height, :width]


def round_to_8_bit(encoded: Tensor) -> Tensor:
    """Clip values to [0, 1] and round them to multiples of 1/255."""
    return (encoded.clamp(0, 1) * 255).round() / 255


# --- JPEG -----------------------------------------------------------------------------------------

# ITU-T T.81, annex K.1: the tables of quality 50, which nearly every encoder scales.
_LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61), (12, 12, 14, 19, 26, 58, 60, 55), (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62), (18, 22, 37, 56, 68, 109, 103, 77), (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101), (72, 92, 95, 98, 112, 100, 103, 99),
)  # fmt: skip
_CHROMA = ((17, 18, 24, 47), (18, 21, 26, 66), (24, 26, 56, 99), (47, 66, 99, 99))  # the rest of the table is 99


def compress_as_jpeg(pictures: Tensor, quality: Tensor, halved: Tensor, shift: Tensor) -> Tensor:
    """Images (B, 3, H, W) in [0, 1] as they come back from JPEG files of `quality` (B,), 1 to 100; 8 bit.

    Where `halved` (B,) is true, colour is stored at half resolution. The 8x8 blocks begin `shift` (B, 2) pixels,
    0 to 15, above and left of the image, as in a crop of a larger one. Quantisation alone is lossy in JPEG, so
    no bits are coded.
    """
    batch, _, height, width = pictures.shape
    rows, columns = (
        reflect(torch.arange(-(-(side + 15) // 16) * 16, device=shift.device) - shift[:, which, None], size)
        for which, (side, size) in enumerate(
            (side, torch.tensor(side, device=shift.device)) for side in (height, width)
        )
    )
    every = torch.arange(batch, device=pictures.device)[:, None, None]
    padded = pictures.permute(0, 2, 3, 1)[every, rows[:, :, None], columns[:, None]].permute(0, 3, 1, 2)

    luma_table, chroma_table = _tables(str(pictures.device))
    percent = torch.where(quality < 50, (5000 / quality.clamp(min=1)).floor(), 200 - 2 * quality)  # libjpeg's rule
    to_ycc = torch.tensor(
        [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], device=pictures.device
    )
    ycc = torch.einsum("ij,bjhw->bihw", to_ycc, padded * 255).round()
    luma = _quantise(ycc[:, :1] - 128, luma_table, percent) + 128
    full = _quantise(ycc[:, 1:], chroma_table, percent)
    if bool(halved.any()):
        small = _quantise(F.avg_pool2d(ycc[:, 1:], 2).round(), chroma_table, percent)
        doubled = F.interpolate(small, scale_factor=2.0, mode="bilinear", align_corners=False).round()
        full = torch.where(halved[:, None, None, None], doubled, full)
    decoded = torch.einsum("ij,bjhw->bihw", torch.linalg.inv(to_ycc.cpu()).to(to_ycc), torch.cat([luma, full], 1))

    rows, columns = (
        torch.arange(size, device=shift.device) + shift[:, which, None] for which, size in ((0, height), (1, width))
    )
    back = decoded.permute(0, 2, 3, 1)[every, rows[:, :, None], columns[:, None]].permute(0, 3, 1, 2)
    return round_to_8_bit(back / 255)


def compress_as_drawn_jpeg(pictures: Tensor, rng: CounterRNG) -> Tensor:
    """Compress images as JPEG with drawn qualities, with blocks that begin at a drawn pixel."""
    quality, halved = draw_jpeg_quality(rng)
    return compress_as_jpeg(pictures, quality, halved, (rng.uniform(Stream.JPEG_SHIFT, 2) * 16).long().clamp(max=15))


def draw_jpeg_quality(rng: CounterRNG) -> tuple[Tensor, Tensor]:
    """Draw JPEG qualities (B,) from 60 to 98, and whether colour is subsampled (B,) bool."""
    return rng.between(Stream.JPEG_QUALITY, *JPEG_QUALITY).round(), rng.uniform(Stream.JPEG_HALVED) < 0.5


def _quantise(planes: Tensor, table: Tensor, percent: Tensor) -> Tensor:
    """Planes (B, C, H, W), sides multiples of 8, through the cosine transform, quantisation and back."""
    batch, channels, height, width = planes.shape
    basis = _cosines(str(planes.device))
    blocks = planes.reshape(batch, channels, height // 8, 8, width // 8, 8).transpose(3, 4)  # (B, C, h, w, 8, 8)
    steps = ((table * percent[:, None, None] + 50) / 100).floor().clamp(1, 255)[:, None, None, None]
    values = ((basis @ blocks @ basis.T) / steps).round() * steps
    return (basis.T @ values @ basis).round().transpose(3, 4).reshape(batch, channels, height, width)


@lru_cache
def _cosines(device: str) -> Tensor:  # (8, 8), orthonormal
    k, n = torch.arange(8.0)[:, None], torch.arange(8.0)
    basis = torch.cos(math.pi * (2 * n + 1) * k / 16) / 2
    basis[0] /= math.sqrt(2)
    return basis.to(device)


@lru_cache
def _tables(device: str) -> tuple[Tensor, Tensor]:
    chroma = torch.full((8, 8), 99.0)
    chroma[:4, :4] = torch.tensor(_CHROMA)
    return torch.tensor(_LUMA, dtype=torch.float32).to(device), chroma.to(device)
