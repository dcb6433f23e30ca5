"""Checks of a data set before hours are spent on it: findings, each of which names its files.

An error would spoil training, or what validation says of it; a warning is worth a look. The numbers behind the limits
were measured on the 485 pairs of LOL v1, a good data set with known blemishes.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from mirnet import images
from mirnet.datasets.alignment import Shift, shift_between
from mirnet.datasets.parallel import in_order
from mirnet.datasets.reading import ImageArray, read_rgb
from mirnet.datasets.scene_similarity import SceneSignature, by_rank, compute_signature, find_alike, read_signature
from mirnet.datasets.scene_split import same_scene
from mirnet.errors import DataError, PictureError
from mirnet.pairs import Pair, PairListing

Side = Literal["training", "validation"]
Severity = Literal["error", "warning"]
Progress = Callable[[float], None]

SHIFT_PX = 1.0  # nine pairs in ten of LOL are within 0.4 px, ten pairs are beyond 1 px
CLIPPED_SHARE = 0.05  # in 98 of 100 bright images of LOL less is white, and nowhere is more than 0.02 black
HARDLY_DIFFERS = 0.02  # mean difference of the values; in LOL at least 0.058
# Correlation by rank of the light of dark and bright: in LOL 0.93 and more but for seven pairs (0.58 and more), and
# below 0.54 in 99 of 100 couples of different scenes. A dark image is certain to show something else where its own
# partner agrees less than OTHER_SCENE and another's image FITS_BETTER, or where NOTHING_IN_COMMON is left.
OTHER_SCENE, NOTHING_IN_COMMON, FITS_BETTER = 0.5, 0.3, 0.2
DOUBTFUL = 0.75  # below, it is asked whether another bright image fits better
QUICK_SAMPLE = 48  # pairs of each side of which `quick` looks at the dark image too
CERTAIN = 0.8  # of a look; in LOL at least 0.97. Below, an image is little but noise and nothing is claimed of it

# Of each kind of finding, in the order of a report: what it is, and what to do about it.
KINDS: dict[str, tuple[str, str]] = {
    "unreadable": ("Unreadable files", "Get fresh copies, or convert them to JPEG, PNG, WebP or TIFF."),
    "alpha": ("Pictures with an alpha channel", "Save them without transparency."),
    "no-partner": ("Pictures without a partner", "Add the partner, or take the picture away."),
    "one-name": ("Two files of one name", "Keep one of them."),
    "size": ("Sizes that differ", "Crop both to what they have in common."),
    "swapped": ("Dark brighter than bright", "Swap the two files."),
    "wrong-scene": ("Wrongly paired scenes", "Find the right partner, or take the pair away."),
    "leak": ("The same scene on both sides of the split", "Split anew by scene: mirnet data split DATA."),
    "misaligned": ("PairStore that are shifted", "Align them, or take them away: they teach to blur."),
    "hardly-differs": ("Targets that hardly differ", "Take them away, unless they are there to teach restraint."),
    "clipped": ("Clipped targets", "Look whether they should be that bright: what is white or black has no detail."),
    "duplicate": ("Exact duplicates", "Harmless in small numbers; they count double."),
    "near-duplicate": ("Near duplicates", "Harmless on one side of a split; keep each scene on one side."),
}


@dataclass(frozen=True)
class Example:
    """The files that a finding is about: a pair, or what there is of one."""

    side: Side
    name: str
    dark: Path | None
    bright: Path | None

    def __str__(self) -> str:
        return " | ".join(printable(file) for file in (self.dark, self.bright) if file)


@dataclass(frozen=True)
class Finding:
    """One problem of a data set, an error or a warning, with the files that it is about."""

    kind: str  # of KINDS
    severity: Severity
    examples: tuple[Example, ...]
    sentence: str

    @property
    def line(self) -> str:
        """The finding as one line of text."""
        several = len({exhibit.side for exhibit in self.examples}) > 1
        files = "; ".join(f"{each} ({each.side})" if several else f"{each}" for each in self.examples)
        return f"{self.severity}: {self.kind}: {files}: {self.sentence}"

    def to_json(self) -> dict[str, object]:
        """The finding as plain data for JSON, paths as text."""
        files = [
            {"side": each.side, "name": printable(each.name), "dark": each.dark and printable(each.dark),
             "bright": each.bright and printable(each.bright)}
            for each in self.examples
        ]  # fmt: skip
        return {"kind": self.kind, "severity": self.severity, "files": files, "sentence": self.sentence}


def printable(name: Path | str) -> str:
    """A file name made safe to print: on one line, without characters that a terminal cannot show."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii") for sign in str(name))


def check(
    training: PairListing, validation: PairListing | None = None, progress: Progress = lambda done: None
) -> list[Finding]:
    """All findings about training pairs, validation pairs and what they share; errors first, kinds in order."""
    surveys: list[tuple[Side, PairListing]] = [("training", training)]
    surveys += [("validation", validation)] if validation else []
    broken = [finding for side, found in surveys for finding in _unpaired(side, found)]
    pairs = [(side, pair) for side, found in surveys for pair in found.pairs]
    results = list(in_order(lambda each: _examine(*each), pairs, progress))
    return _sorted([*broken, *_found(results), *_duplicates(results)])


def check_sample(
    training: Sequence[Pair], validation: Sequence[Pair], progress: Progress = lambda done: None
) -> list[str]:
    """The findings of a quick check of some pairs, as lines: warnings before a run.

    Leaks are looked for in all bright images; for swapped and wrongly paired ones a sample is taken, in which a
    folder that was swapped, or a list that slipped, shows.
    """
    sides: list[tuple[Side, Sequence[Pair]]] = [("training", training), ("validation", validation)]
    pairs = [(side, pair, place in _sampled(len(found))) for side, found in sides for place, pair in enumerate(found)]
    results = in_order(lambda each: _looked_at(*each), pairs, progress)
    return [finding.line for finding in _sorted(_found(results)) if finding.severity == "error"]


def _sampled(count: int) -> range:
    return range(0, count, max(1, -(-count // QUICK_SAMPLE)))


def counts(findings: Iterable[Finding]) -> dict[str, int]:
    """The number of errors and of warnings among findings, by those two names."""
    counted = Counter(finding.severity for finding in findings)
    return {"errors": counted["error"], "warnings": counted["warning"]}


def _sorted(findings: Iterable[Finding]) -> list[Finding]:
    order = list(KINDS)
    return sorted(findings, key=lambda finding: (finding.severity, order.index(finding.kind)))


# Files ---------------------------------------------------------------------------------------------------------------


def _unpaired(side: Side, found: PairListing) -> Iterator[Finding]:
    for lone in found.lone:
        said = f"{printable(lone.name)} has no partner {printable(lone.wanted)}."
        yield Finding("no-partner", "error", (_of_one_file(side, lone.name, lone.file, lone.is_bright),), said)
    for doubled in found.duplicates:
        examples = tuple(_of_one_file(side, doubled.name, file, doubled.is_bright) for file in doubled.files)
        yield Finding("one-name", "error", examples, "have one name, so a partner could be of either.")


def _of_one_file(side: Side, name: str, file: Path, is_bright: bool) -> Example:
    return Example(side, name, None if is_bright else file, file if is_bright else None)


@dataclass(frozen=True)
class _Examined:
    """A pair that can be read, and what was seen of it; None is what was not looked at."""

    exhibit: Example
    bright: SceneSignature
    dark: SceneSignature | None = None
    difference: float | None = None  # mean of the values
    shift: Shift | None = None


def _looked_at(side: Side, pair: Pair, both: bool) -> _Examined | list[Finding]:
    exhibit = Example(side, pair.name, pair.dark, pair.bright)
    try:
        return _Examined(exhibit, read_signature(pair.bright), read_signature(pair.dark) if both else None)
    except DataError as error:
        return [Finding("unreadable", "error", (exhibit,), printable(f"{error}"))]


def _examine(side: Side, pair: Pair) -> _Examined | list[Finding]:
    exhibit = Example(side, pair.name, pair.dark, pair.bright)
    dark, bright = (_read(exhibit, file) for file in (pair.dark, pair.bright))
    if isinstance(dark, Finding) or isinstance(bright, Finding):
        return [trouble for trouble in (dark, bright) if isinstance(trouble, Finding)]
    if dark.shape != bright.shape:
        sizes = " and ".join(f"{picture.shape[2]}x{picture.shape[1]}" for picture in (dark, bright))
        return [Finding("size", "error", (exhibit,), f"a pair needs one size, these are {sizes}.")]
    difference = float(np.abs(_values(dark) - _values(bright)).mean())
    return _Examined(
        exhibit, compute_signature(bright), compute_signature(dark), difference, shift_between(dark, bright)
    )


def _found(results: Iterable[_Examined | list[Finding]]) -> Iterator[Finding]:
    """All but duplicates."""
    results = list(results)
    for result in results:
        yield from _of_a_pair(result) if isinstance(result, _Examined) else result
    seen = _readable(results)
    yield from _wrong_scenes(seen)
    yield from _leaks(*_sides(seen))


def _readable(results: Iterable[_Examined | list[Finding]]) -> list[_Examined]:
    return [result for result in results if isinstance(result, _Examined)]


def _sides(seen: Sequence[_Examined]) -> tuple[list[_Examined], list[_Examined]]:
    training = [each for each in seen if each.exhibit.side == "training"]
    return training, [each for each in seen if each.exhibit.side == "validation"]


def _read(exhibit: Example, file: Path) -> ImageArray | Finding:
    try:
        if images.open_image(file).header.channels in (2, 4):
            said = f"{printable(file)} has an alpha channel, which can't be used."
            return Finding("alpha", "error", (exhibit,), said)
        return read_rgb(file)
    except (PictureError, DataError) as error:
        return Finding("unreadable", "error", (exhibit,), printable(f"{error}."))


def _values(picture: ImageArray) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return picture.astype(np.float32) / np.float32(np.iinfo(picture.dtype).max)


# Pairs ---------------------------------------------------------------------------------------------------------------


def _of_a_pair(each: _Examined) -> Iterator[Finding]:
    """What one pair says by itself."""
    examples = (each.exhibit,)
    unknown = HARDLY_DIFFERS if each.difference is None else 0.0  # means that far apart are no matter of noise
    if each.difference is not None and each.difference < HARDLY_DIFFERS:
        said = f"the values differ by {each.difference:.3f} of the range in the mean."
        yield Finding("hardly-differs", "warning", examples, said)
    elif each.dark is not None and each.dark.mean > each.bright.mean + unknown:
        said = f"the dark picture's mean is {each.dark.mean:.2f}, the bright one's {each.bright.mean:.2f}."
        yield Finding("swapped", "error", examples, said)
    for share, colour in ((each.bright.white, "white"), (each.bright.black, "black")):
        if share > CLIPPED_SHARE:
            yield Finding("clipped", "warning", examples, f"{share:.0%} of the target's pixels are {colour}.")
    if each.shift is not None and each.shift.length >= SHIFT_PX:
        yield Finding("misaligned", "warning", examples, _shifted(each.shift))


def _shifted(shift: Shift) -> str:
    across, along = ("left" if shift.right > 0 else "right"), ("high" if shift.down > 0 else "low")
    return (
        f"shifted by {shift.length:.1f} px: the dark picture lies {abs(shift.right):.1f} px too far {across} and "
        f"{abs(shift.down):.1f} px too {along}."
    )


def _agreement(dark: SceneSignature, bright: SceneSignature) -> float:
    one, other = by_rank([dark.light, bright.light])
    return float(one @ other)


def _wrong_scenes(seen: Sequence[_Examined]) -> Iterator[Finding]:
    """Pairs whose dark image shows something else than the bright one, with the bright image that it fits."""
    if not seen:
        return
    brights = by_rank([each.bright.light for each in seen])
    for each in seen:
        if each.dark is None or min(each.dark.certainty, each.bright.certainty) < CERTAIN:
            continue
        own = _agreement(each.dark, each.bright)
        if own >= DOUBTFUL:
            continue
        agreement = brights @ by_rank([each.dark.light])[0]
        best = int(agreement.argmax())
        fits = float(agreement[best]) >= own + FITS_BETTER
        certain = own < (OTHER_SCENE if fits else NOTHING_IN_COMMON)
        if not fits and not certain:
            continue
        better = f", but it fits {printable(seen[best].exhibit.bright or '')} ({agreement[best]:.2f})" if fits else ""
        what = "another scene" if certain else "another scene, or another view of it"
        yield Finding("wrong-scene", "error" if certain else "warning", (each.exhibit,),
                      f"the dark picture seems to show {what}: its light agrees with the bright one's by {own:.2f} "
                      f"only{better}.")  # fmt: skip


# Scenes --------------------------------------------------------------------------------------------------------------


def _duplicates(results: Iterable[_Examined | list[Finding]]) -> Iterator[Finding]:
    """Exact ones and near ones, on each side by itself."""
    for side in _sides(_readable(results)):
        for group in _groups(side, lambda each: each.bright.digest):
            copies = len(group) - len({each.dark and each.dark.digest for each in group})
            both = f" (whole copies, dark picture included: {copies})" if copies else ""
            yield _duplicate("duplicate", group, f"{len(group)} pairs have the very same bright picture{both}.")
        for group in _groups(side, lambda each: each.dark and each.dark.digest):
            if _different_targets(group) > 1:
                yield _duplicate("duplicate", group, f"{len(group)} pairs have the very same dark picture.")
        for places in same_scene([each.bright for each in side]):
            group = [side[place] for place in places]
            distinct = _different_targets(group)
            if distinct > 1:
                said = f"{len(group)} pairs with {distinct} different bright pictures show one scene."
                yield _duplicate("near-duplicate", group, said)


def _groups(side: Sequence[_Examined], key: Callable[[_Examined], object]) -> list[list[_Examined]]:
    """Those of two and more that have one key."""
    same: dict[object, list[_Examined]] = defaultdict(list)
    for each in side:
        same[key(each)].append(each)
    return [group for group in same.values() if len(group) > 1]


def _different_targets(group: Sequence[_Examined]) -> int:
    return len({each.bright.digest for each in group})


def _duplicate(kind: str, group: Sequence[_Examined], said: str) -> Finding:
    return Finding(kind, "warning", tuple(each.exhibit for each in group), said)


def _leaks(training: Sequence[_Examined], validation: Sequence[_Examined]) -> Iterator[Finding]:
    """A validation pair whose scene, or one of whose images, is trained on: then validation praises memory."""
    by_digest: dict[str, set[int]] = defaultdict(set)
    for place, each in enumerate(training):
        for digest in _digests(each):
            by_digest[digest].add(place)
    near = find_alike([each.bright for each in validation], [each.bright for each in training])
    for each, places in zip(validation, near, strict=True):
        exact = {place for digest in _digests(each) for place in by_digest.get(digest, ())}
        trained_on = [training[place].exhibit for place in sorted(exact | set(places.tolist()))]
        if trained_on:
            how = "a picture is the very same" if exact else "they look alike"
            said = f"one scene is on both sides of the split ({how})."
            yield Finding("leak", "error", (each.exhibit, *trained_on), said)


def _digests(each: _Examined) -> set[str]:
    return {seen.digest for seen in (each.dark, each.bright) if seen is not None}
