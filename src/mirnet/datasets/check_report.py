"""The report of a data check as a folder: an HTML page, contact sheets, and JSON."""

import html
import json
import secrets
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mirnet._version import __version__
from mirnet.datasets.checks import KINDS, Example, Finding, counts, printable
from mirnet.datasets.reading import read_rgb, to_unit
from mirnet.errors import DataError, SettingsError
from mirnet.evaluation.contact_sheet import Cell, Row, draw_contact_sheet, to_8_bit, to_png
from mirnet.files import write_whole
from mirnet.thumbnail import area_weights

FINDINGS, PAGE = "findings.json", "index.html"
MADE_BY = "mirnet data check"  # by which an earlier report is known
COUPLES_A_ROW, ROWS = 3, 8  # of a sheet, of dark and bright side by side
MOST_SHEETS = 10  # of one kind: 240 pairs; the page lists all
CELL_PX = 200
AS_THEY_ARE = {"swapped", "hardly-differs"}  # elsewhere dark images are shown as bright as their partners
Progress = Callable[[float], None]


def check_folder(folder: Path) -> None:
    """Check before minutes of work that a report may go there: to a new folder, or in place of an earlier report.

    Raises SettingsError.
    """
    place = folder.resolve()
    if not place.exists():
        if not place.parent.is_dir():
            raise SettingsError(f"{folder}: there is no folder {folder.parent} for the report; make it first.")
    elif not place.is_dir() or not _is_report(place):
        raise SettingsError(f"{folder}: holds something else than an earlier report; choose another name for this one.")


def _is_report(folder: Path) -> bool:
    """Whether all that is in a folder is an earlier report's, or nothing is."""
    names = {path.name for path in folder.iterdir()}
    if not names:
        return True
    if any(
        name not in (FINDINGS, PAGE) and not (name.startswith("sheet-") and name.endswith(".png")) for name in names
    ):
        return False
    try:
        return bool(json.loads((folder / FINDINGS).read_text("utf-8"))["made_by"] == MADE_BY)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def write_report(folder: Path, findings: Sequence[Finding], about: dict[str, object],
                 progress: Progress = lambda done: None) -> None:  # fmt: skip
    """Write findings into a folder, which `check_folder` has allowed, in place of an earlier report.

    It is written beside and then moved, so a reader meets the old report or the new one. `about` says in JSON what was
    checked. Raises OSError.
    """
    place = folder.resolve()
    draft, old = (place.parent / f".mirnet-{secrets.token_hex(8)}.part" for _ in range(2))
    draft.mkdir()
    try:
        sheets = _write_sheets(draft, findings, progress)
        report = {
            "made_by": MADE_BY, "version": __version__, **about, **counts(findings),
            "findings": [finding.to_json() for finding in findings], "sheets": sheets,
        }  # fmt: skip
        write_whole(draft / FINDINGS, (json.dumps(report, indent=2, ensure_ascii=False) + "\n").encode())
        write_whole(draft / PAGE, _page(findings, about, sheets).encode())
        if place.exists():
            place.rename(old)
        try:
            draft.rename(place)
        except BaseException:  # whatever it is, the earlier report comes back
            if old.exists():
                old.rename(place)
            raise
    finally:
        for leftover in (draft, old):
            shutil.rmtree(leftover, ignore_errors=True)


# Sheets --------------------------------------------------------------------------------------------------------------


def _write_sheets(folder: Path, findings: Sequence[Finding], progress: Progress) -> dict[str, list[str]]:
    """The names of the sheets of each kind of finding."""
    planned = [
        (kind, number + 1, examples)
        for kind in KINDS
        for number, examples in enumerate(_portions([finding for finding in findings if finding.kind == kind]))
    ]
    sheets: dict[str, list[str]] = {}
    for done, (kind, number, examples) in enumerate(planned):
        name = f"sheet-{kind}-{number}.png"
        write_whole(folder / name, _draw_sheet(kind, examples))
        sheets.setdefault(kind, []).append(name)
        progress((done + 1) / len(planned))
    return sheets


def _portions(findings: Sequence[Finding]) -> list[list[tuple[str, Example]]]:
    """The exhibits of findings with the finding's number, a sheet's worth at a time."""
    each = [(f"{number}", exhibit) for number, finding in enumerate(findings, 1) for exhibit in finding.examples]
    size = COUPLES_A_ROW * ROWS
    return [each[start : start + size] for start in range(0, min(len(each), MOST_SHEETS * size), size)]


def _draw_sheet(kind: str, examples: Sequence[tuple[str, Example]]) -> bytes:
    """A PNG of dark and bright side by side, each couple under its finding's number and its name."""
    brighten = kind not in AS_THEY_ARE
    couples = [_cells_of(number, example, brighten=brighten) for number, example in examples]
    rows = [
        Row([cell for couple in couples[start : start + COUPLES_A_ROW] for cell in couple])
        for start in range(0, len(couples), COUPLES_A_ROW)
    ]
    heading = f"{KINDS[kind][0]}: dark | bright{' (dark images are brightened here)' if brighten else ''}"
    return to_png(draw_contact_sheet(rows, heading, least_column_px=CELL_PX))


def _cells_of(number: str, example: Example, *, brighten: bool) -> list[Cell]:
    dark, bright = (_thumbnail(file) for file in (example.dark, example.bright))
    if brighten and dark is not None:
        target = 0.4 if bright is None else float(bright.mean())
        dark = np.clip(dark * (target / max(float(dark.mean()), 1e-4)), 0, 1)
    captions = (f"{number}. {_short(example.name)}", example.side)
    return [
        Cell(None if image is None else to_8_bit(image), caption, "" if image is not None else "no image")
        for image, caption in zip((dark, bright), captions, strict=True)
    ]


def _short(name: str) -> str:
    name = printable(name)
    return name if len(name) <= 44 else f"{name[:20]}…{name[-23:]}"


def _thumbnail(file: Path | None) -> NDArray[np.float32] | None:
    """(h, w, 3) of at most 200 px a side; None where there is no image that can be read."""
    if file is None:
        return None
    try:
        picture = to_unit(read_rgb(file))
    except DataError:
        return None
    scale = min(1.0, CELL_PX / max(picture.shape[:2]))
    rows, columns = (area_weights(side, max(1, round(side * scale))) for side in picture.shape[:2])
    small = np.einsum("tr,rwc,uw->tuc", rows, picture, columns, optimize=True)
    return np.asarray(np.clip(small, 0, 1), dtype=np.float32)  # sums of weights are 1 to a rounding error


# Page ----------------------------------------------------------------------------------------------------------------

STYLE = """
:root { color-scheme: light dark; --back: #fbfaf8; --text: #1d1d1f; --soft: #6b6b70; --line: #dcdad5; --card: #fff;
        --error: #b3261e; --warning: #8a5a00; }
@media (prefers-color-scheme: dark) {
  :root { --back: #17181a; --text: #ececec; --soft: #9d9da3; --line: #34363a; --card: #1f2124; --error: #ff8a80;
          --warning: #f2b84b; } }
body { margin: 0 auto; max-width: 70rem; padding: 2rem 1.25rem 4rem; background: var(--back); color: var(--text);
       font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .25rem } h2 { font-size: 1.15rem; margin: 0 }
section { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: 1rem 1.25rem;
          margin-top: 1.25rem }
p { margin: .25rem 0 } .soft { color: var(--soft) } .error { color: var(--error) } .warning { color: var(--warning) }
li { margin: .5rem 0 } code { font: .85em/1.4 ui-monospace, monospace; overflow-wrap: anywhere }
ul.files { list-style: none; padding: 0; margin: 0 } ul.files li { margin: 0 }
img { max-width: 100%; height: auto; margin-top: .75rem; border-radius: .3rem }
nav a { margin-right: 1rem; color: inherit; white-space: nowrap }
"""


def _page(findings: Sequence[Finding], about: dict[str, object], sheets: dict[str, list[str]]) -> str:
    counted = counts(findings)
    kinds = [kind for kind in KINDS if any(finding.kind == kind for finding in findings)]
    links = "".join(f'<a href="#{kind}">{_text(KINDS[kind][0])}</a> ' for kind in kinds)
    said = "".join(
        f'<p class="soft">{_text(what.replace("_", " "))}: <code>{_text(value)}</code></p>'
        for what, value in about.items()
    )
    sections = "".join(_section(kind, findings, sheets.get(kind, [])) for kind in kinds)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Data check</title>
<style>{STYLE}</style>
</head>
<body>
<h1>Data check</h1>
<p><strong class="error">{counted["errors"]} errors</strong>, which would spoil training, and
<strong class="warning">{counted["warnings"]} warnings</strong>, which are worth a look.</p>
{said}
<nav>{links}</nav>
{sections or "<section><h2>Nothing was found</h2></section>"}
</body>
</html>
"""


def _section(kind: str, findings: Sequence[Finding], sheets: Sequence[str]) -> str:
    title, advice = KINDS[kind]
    ours = [finding for finding in findings if finding.kind == kind]
    items = "".join(_item(finding) for finding in ours)
    count, most = sum(len(finding.examples) for finding in ours), MOST_SHEETS * ROWS * COUPLES_A_ROW
    left_out = f'<p class="soft">The sheets show the first {most} of {count}.</p>' if count > most else ""
    pictures = "".join(
        f'<a href="{name}"><img src="{name}" loading="lazy" alt="{_text(title)}, sheet {number}"></a>'
        for number, name in enumerate(sheets, 1)
    )
    return (
        f'<section id="{kind}"><h2>{_text(title)}</h2><p class="soft">{_text(advice)}</p><ol>{items}</ol>'
        f"{left_out}{pictures}</section>\n"
    )


def _item(finding: Finding) -> str:
    files = "".join(
        f'<li><code>{_text(exhibit)}</code> <span class="soft">{exhibit.side}</span></li>'
        for exhibit in finding.examples
    )
    return (
        f'<li><span class="{finding.severity}">{finding.severity}</span> {_text(finding.sentence)}'
        f'<ul class="files">{files}</ul></li>'
    )


def _text(value: object) -> str:
    return html.escape(printable(str(value)))
