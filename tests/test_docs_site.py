"""The docs site builds without a warning, has no broken link, and loads nothing from other hosts."""

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import mirnet
from mirnet.inference import catalog
from mirnet.inference.settings import SettingRow, settings_table

LOADS = {("script", "src"), ("img", "src"), ("img", "srcset"), ("link", "href"), ("iframe", "src"), ("source", "src"),
         ("source", "srcset"), ("video", "src"), ("audio", "src"), ("object", "data"), ("embed", "src")}  # fmt: skip
IN_STYLES = re.compile(r"""(?:url\(\s*["']?|@import\s+["'])((?:https?:)?//[^"')]+)""")


def build(configuration: Path, target: Path) -> subprocess.CompletedProcess[str]:
    """`mkdocs build`, as scripts/docs calls it, without --strict, which mkdocs.yml has too."""
    command = (sys.executable, "-m", "mkdocs", "build", "--config-file", configuration, "--site-dir", target)
    return subprocess.run(command, capture_output=True, text=True, check=False, env={"NO_MKDOCS_2_WARNING": "true"})


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built once."""
    target = tmp_path_factory.mktemp("site")
    done = build(Path(__file__).resolve().parent.parent / "mkdocs.yml", target)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return target


@dataclass
class Read(HTMLParser):
    """What a page loads, its links, and its anchors."""

    html: str
    loads: list[str] = field(default_factory=list)
    leads: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.anchors.add(value)
            if (tag, name) in LOADS and value:
                self.loads.append(value)
            if (tag, name) == ("a", "href") and value:
                self.leads.append(value)

    def loads_from_outside(self) -> list[str]:
        return [url for url in [*self.loads, *IN_STYLES.findall(self.html)] if urlsplit(url.strip()).netloc]


def pages(site: Path) -> dict[Path, Read]:
    # 404.html has links from the root of a host, since it is served at any path
    return {page: Read(page.read_text()) for page in site.rglob("*.html") if page.name != "404.html"}


def is_broken(page: Path, link: str, read: dict[Path, Read]) -> bool:
    """Whether a link within the site has no file at its end, or no anchor in that file."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return False
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if not target.is_file():
        return True
    return bool(parts.fragment) and target in read and unquote(parts.fragment) not in read[target].anchors


def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    read = pages(site)
    assert len(read) > 12
    assert {page.name: read[page].loads_from_outside() for page in read if read[page].loads_from_outside()} == {}
    styles = [found for style in site.rglob("*.css") for found in IN_STYLES.findall(style.read_text())]
    assert styles == []


@pytest.mark.parametrize(
    "html",
    ['<script src="https://a.example/x.js">', '<link rel="preconnect" href="//fonts.example">',
     '<style>@import "https://a.example/x.css"</style>', '<p style="background: url(http://a.example/x.png)">'],
)  # fmt: skip
def test_what_loads_from_another_host_is_seen(html: str) -> None:
    """Shows that the test above can fail."""
    assert len(Read(html).loads_from_outside()) == 1


def test_every_link_of_the_site_has_an_end(site: Path) -> None:
    read = pages(site)
    links = [(page, link) for page in read for link in read[page].leads]
    assert len(links) > 300
    assert [f"{page.name}: {link}" for page, link in links if is_broken(page, link, read)] == []


def test_every_page_of_docs_is_in_the_menu(site: Path, repository: Path) -> None:
    menu = Read((site / "data.html").read_text()).leads
    names = {page.stem for page in (repository / "docs").glob("*.md")} - {"data"}
    assert {f"{name}.html" for name in names} - set(menu) == set()


def build_a_page(repository: Path, folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """A site of one page, with our configuration."""
    (folder / "docs").mkdir()
    (folder / "docs" / "index.md").write_text(f"# A page\n\n{text}\n")
    hooks = repository / "docs" / "building" / "links.py"
    changed = f"nav: [index.md]\nhooks: [{hooks}]\nplugins: {{mkdocstrings: null}}\n"
    (folder / "mkdocs.yml").write_text(f"INHERIT: {repository}/mkdocs.yml\n{changed}")
    return build(folder / "mkdocs.yml", folder / "site")


@pytest.mark.parametrize("text", ["[nowhere](nowhere.md)", "[no such part](#nowhere)", "[outside](../nowhere.py)"])
def test_a_link_to_nothing_stops_the_build(repository: Path, tmp_path: Path, text: str) -> None:
    done = build_a_page(repository, tmp_path, text)
    assert done.returncode != 0
    assert "nowhere" in done.stderr


def test_a_good_page_builds(repository: Path, tmp_path: Path) -> None:
    """Shows that the test above can fail."""
    (tmp_path / "program.py").write_text("answer = 42\n")
    done = build_a_page(repository, tmp_path, "[here](#a-page) [outside](../program.py)")
    assert done.returncode == 0, done.stderr
    assert "42" in (tmp_path / "site" / "files" / "program.py.html").read_text()


def test_what_the_package_exports_is_on_the_api_page(site: Path) -> None:
    anchors = Read((site / "api.html").read_text()).anchors
    documented = {anchor.rsplit(".", 1)[-1] for anchor in anchors if anchor.startswith("mirnet.")}
    assert {name for name in mirnet.__all__ if not name.startswith("__")} - documented == set()


def test_the_fields_of_settings_are_a_list(site: Path) -> None:
    assert re.search(r"<li>\s*(<p>)?<code>strip_location</code>: [Ll]eave out", (site / "api.html").read_text())


Card = catalog.Card
# The rows of docs/weights.md, and what each says of a card.
ROWS: dict[str, Callable[[Card], str]] = {
    "parameters": lambda card: f"{card.parameters:,}",
    "operations per pixel": lambda card: f"{card.kflop_per_px} kFLOP",
    "overlap of tiles": lambda card: f"{card.overlap_px} px",
    "largest difference between the ONNX file and the trained network": lambda card: f"{card.export['parity']}",
    "PSNR": lambda card: f"{card.scores['psnr']:.2f} dB",
    "PSNR with the ground truth's mean (GT-mean)": lambda card: f"{card.scores['psnr_gt_mean']:.2f} dB",
    "PSNR at the ground truth's exposure": lambda card: f"{card.scores['psnr_true_exposure']:.2f} dB",
    "SSIM": lambda card: f"{card.scores['ssim']:.3f}",
    "SSIM at the ground truth's exposure": lambda card: f"{card.scores['ssim_true_exposure']:.3f}",
    "error of the proposed exposure (RMS)": lambda card: f"{card.scores['stops_error_rms']:.2f} stops",
    "PSNR, sigma 10 of 255": lambda card: f"{card.scores['psnr_sigma_10']:.2f} dB",
    "PSNR, sigma 25 of 255": lambda card: f"{card.scores['psnr_sigma_25']:.2f} dB",
    "PSNR, sigma 50 of 255": lambda card: f"{card.scores['psnr_sigma_50']:.2f} dB",
}


def numbers_of_weights(page: str) -> dict[tuple[str, str], str]:
    """The cells of the tables whose columns are weights, by (weights, row)."""
    cells: dict[tuple[str, str], str] = {}
    columns: list[str] = []
    for line in page.splitlines():
        row = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if row and row[0] == "":
            columns = [name.strip("`") for name in row[1:] if name.startswith("`")]
        elif row and not row[0].startswith("---"):
            cells |= {(name, row[0]): cell for name, cell in zip(columns, row[1:], strict=False)}
        elif not row:
            columns = []
    return cells


def released() -> dict[str, catalog.Weights]:
    return {weights.card.name: weights for weights in mirnet.list_weights()}


def test_the_page_of_the_weights_has_the_numbers_of_their_cards(repository: Path) -> None:
    said = numbers_of_weights((repository / "docs" / "weights.md").read_text())
    every = {name: weights for name, weights in released().items() if not name.endswith(".int8")}
    size = "size of the file"
    of_cards = {(name, row): ROWS[row](every[name].card) for name, row in said if row != size}
    of_files = {(name, size): f"{weights.path.stat().st_size / 1e6:.1f} MB" for name, weights in every.items()}
    assert said == of_cards | of_files
    assert {row for _, row in said} == {*ROWS, size}
    of_pairs = {name for name in every if "psnr_gt_mean" in every[name].card.scores}
    assert {name for name, row in said if row == "SSIM"} == of_pairs


def test_the_page_of_the_weights_has_the_losses_of_the_fast_ways(repository: Path) -> None:
    page = (repository / "docs" / "weights.md").read_text()
    losses = {(name, way): lost for name, each in released().items() for way, lost in each.card.fast.items()}
    assert sorted(losses) == [("lite", "bf16"), ("lite", "int8")]
    found = {way: f"{loss} dB" for loss, way in re.findall(r"by (\d\.\d+) dB in (\w+)", page)}
    assert found == {way: f"{lost['psnr_true_exposure_loss']:.3f} dB" for (_, way), lost in losses.items()}


def test_the_page_of_the_weights_links_to_every_card(repository: Path) -> None:
    page = (repository / "docs" / "weights.md").read_text()
    names = [name for name in released() if not name.endswith(".int8")]
    assert [name for name in names if f"(../src/mirnet/weights/{name}.json)" not in page] == []


def test_the_table_of_options_has_the_defaults_and_ranges_of_the_settings(repository: Path) -> None:
    page = (repository / "docs" / "photos.md").read_text()
    rows = re.findall(r"^\| `--([\w-]+)[^`]*` \|([^|]*)\|([^|]*)\|", page, re.MULTILINE)
    said = {
        name: (default.strip(), limits.strip()) for name, default, limits in rows if name in NAMED_OTHERWISE.values()
    }
    settings = {NAMED_OTHERWISE[row.name]: (default_in_words(row), row.range) for row in settings_table()}
    assert said == settings


NAMED_OTHERWISE = {row.name: row.name.replace("_", "-") for row in settings_table()} | {"provenance": "no-provenance"}


def default_in_words(row: SettingRow) -> str:
    """The default as the table of docs/photos.md writes it; every switch is off, `--no-provenance` too."""
    if isinstance(row.default, bool):
        return "off"
    return "" if row.default is None else f"{row.default:g}" if isinstance(row.default, float) else str(row.default)
