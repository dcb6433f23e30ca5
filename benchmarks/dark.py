"""Shows and measures what `enhance` does with dark photos: contact sheet, clipping, and stability.

    python benchmarks/dark.py PHOTOS... [--twins FOLDER] [--sheet sheet.png]
    python benchmarks/dark.py PHOTOS... [--twins FOLDER] --still

PHOTOS are dark photos, files and folders; --twins is a folder of good photos, from each of which a synthetic low-light
image is made (`mirnet data darken`, 3 to 6 stops, seed 0). The sheet shows each beside a plain gamma with the same mean
as mirnet's result, and CLAHE (scikit-image's, of the value, clip limit 0.03). Tables are Markdown on standard output.
Protocol: default settings, rounded to 8 bit; *newly clipped*: a channel at 254 or more that was below 250, in percent
of the pixels; changes of brightness are those of the mean sRGB value of the area that both images show, in percent.
"""

import argparse
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from do_no_harm import LONGEST_PX, files, newly_clipped, opened
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from skimage.color import hsv2rgb, rgb2hsv
from skimage.exposure import equalize_adapthist

from mirnet import Enhancer
from mirnet.datasets.darkened_folder import darken

Photo = NDArray[np.uint8]  # (H, W, 3)

TWIN_STOPS = (3.0, 6.0)
CROPPED_PX = (1, 2, 3, 5, 7)  # from the left and the top
QUALITY = 90
PAN_PX, FRAMES, PAN_SHARE = 2, 12, 0.8  # of a window of so much of the picture
COLUMNS = ("before", "gamma", "CLAHE", "mirnet")
SMALL_PX, TEXT_PX, A_ROW = 300, 18, 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="*", type=Path)
    parser.add_argument("--twins", type=Path)
    parser.add_argument("--still", action="store_true")
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--weights", default="lite")
    given = parser.parse_args()
    enhancer = Enhancer(given.weights)
    photos = list(labelled(given.photos, given.twins))
    if given.still:
        still(enhancer, photos)
    else:
        brightened(enhancer, photos, given.sheet)


def labelled(dark: list[Path], good: Path | None) -> Iterator[tuple[str, Photo]]:
    """The photographs with their names, and what they are."""
    for path in files(dark):
        yield f"{path.stem}, dark photograph", opened(path, LONGEST_PX)
    if good is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        darken(list(files([good])), Path(folder) / "twins", seed=0, stops=TWIN_STOPS)
        for path in files([Path(folder) / "twins" / "low"]):
            yield f"{path.stem}, dark twin", opened(path, LONGEST_PX)


# To look at ----------------------------------------------------------------------------------------------------------


def brightened(enhancer: Enhancer, photos: list[tuple[str, Photo]], sheet: Path | None) -> None:
    print("| photo | mean | stops | mean after | newly clipped |\n|---|---|---|---|---|")
    rows, clipped = [], []
    for name, photo in photos:
        result = enhancer.enhance(photo)
        clipped.append(100 * newly_clipped(photo, result))
        print(f"| {name} | {photo.mean():.0f} | {enhancer.propose(photo):+.2f} | {result.mean():.0f} "
              f"| {clipped[-1]:.2f} % |", flush=True)  # fmt: skip
        if sheet:
            pictures = [photo, as_bright_as(result, photo), clahe(photo), result]
            rows.append((name, [_small(each) for each in pictures]))
    print(f"| **mean of {len(clipped)}** | | | | {np.mean(clipped):.2f} % |")
    if sheet:
        save_sheet(rows, sheet)


def as_bright_as(other: Photo, photo: Photo) -> Photo:
    """A photo under the gamma that gives it the mean of another, of those of at most 8."""
    values = np.maximum(photo, 1) / np.float32(255)
    low, high = 1 / 8, 1.0
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (low, middle) if 255 * (values**middle).mean() < other.mean() else (middle, high)
    return np.asarray(np.rint(255 * values**low), dtype=np.uint8)


def clahe(photo: Photo) -> Photo:
    hsv = rgb2hsv(photo)
    hsv[..., 2] = equalize_adapthist(hsv[..., 2], clip_limit=0.03)
    return np.asarray(np.rint(255 * hsv2rgb(hsv)), dtype=np.uint8)


def _small(photo: Photo) -> Image.Image:
    small = Image.fromarray(photo)
    small.thumbnail((SMALL_PX, SMALL_PX), Image.Resampling.LANCZOS)
    return small


def save_sheet(rows: list[tuple[str, list[Image.Image]]], path: Path) -> None:
    width = len(COLUMNS) * (SMALL_PX + 4) + 12
    heights = [
        max(TEXT_PX + row[1][0].height + 8 for row in rows[at : at + A_ROW]) for at in range(0, len(rows), A_ROW)
    ]
    page = Image.new("RGB", (A_ROW * width, sum(heights)), "white")
    pen = ImageDraw.Draw(page)
    for index, (name, pictures) in enumerate(rows):
        left, top = index % A_ROW * width, sum(heights[: index // A_ROW])
        for number, (column, picture) in enumerate(zip(COLUMNS, pictures, strict=True)):
            at = left + number * (SMALL_PX + 4)
            pen.text((at, top + 2), name if number == 0 else column, fill="black")
            page.paste(picture, (at, top + TEXT_PX))
    page.save(path)


# Whether it holds still ----------------------------------------------------------------------------------------------


def still(enhancer: Enhancer, photos: list[tuple[str, Photo]]) -> None:
    print(f"| photo | cropped by {', '.join(map(str, CROPPED_PX))} px: most | re-encoded at quality {QUALITY} "
          f"| panned by {PAN_PX} px a frame: most from frame to frame |\n|---|---|---|---|")  # fmt: skip
    measured = []
    for name, photo in photos:
        measured.append((cropped(enhancer, photo), re_encoded(enhancer, photo), panned(enhancer, photo)))
        print("| {} | {:.2f} % | {:.2f} % | {:.2f} % |".format(name, *measured[-1]), flush=True)
    print("| **mean of {}** | {:.2f} % | {:.2f} % | {:.2f} % |".format(len(measured), *np.mean(measured, axis=0)))
    print("| **most** | {:.2f} % | {:.2f} % | {:.2f} % |".format(*np.max(measured, axis=0)))


def cropped(enhancer: Enhancer, photo: Photo) -> float:
    whole, most = enhancer.enhance(photo), max(CROPPED_PX)
    common = whole[most:, most:].mean()
    means = [enhancer.enhance(photo[px:, px:])[most - px :, most - px :].mean() for px in CROPPED_PX]
    return max(_change(mean, common) for mean in means)


def re_encoded(enhancer: Enhancer, photo: Photo) -> float:
    file = io.BytesIO()
    Image.fromarray(photo).save(file, "JPEG", quality=QUALITY)
    return _change(enhancer.enhance(np.asarray(Image.open(file))).mean(), enhancer.enhance(photo).mean())


def panned(enhancer: Enhancer, photo: Photo) -> float:
    """The largest change from one frame of a slow pan to the next, of what both show."""
    width, changes, before = round(PAN_SHARE * photo.shape[1]), [], None
    for start in range(0, FRAMES * PAN_PX, PAN_PX):
        frame = enhancer.enhance(photo[:, start : start + width])
        if before is not None:
            changes.append(_change(frame[:, :-PAN_PX].mean(), before[:, PAN_PX:].mean()))
        before = frame
    return max(changes)


def _change(mean: float, other: float) -> float:
    return 100 * abs(float(mean) / float(other) - 1)


if __name__ == "__main__":
    main()
