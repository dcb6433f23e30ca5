"""The docs site builds without a warning, leads nowhere into nothing, and asks no other host for anything."""

import re
import subprocess
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import mirnet
from mirnet.inference import catalog

LOADS = {("script", "src"), ("img", "src"), ("img", "srcset"), ("link", "href"), ("iframe", "src"), ("source", "src"),
         ("source", "srcset"), ("video", "src"), ("audio", "src"), ("object", "data"), ("embed", "src")}  # fmt: skip
IN_STYLES = re.compile(r"""(?:url\(\s*["']?|@import\s+["'])((?:https?:)?//[^"')]+)""")


def build(configuration: Path, target: Path) -> subprocess.CompletedProcess[str]:
    """`mkdocs build`, as scripts/docs calls it, but for --strict, which mkdocs.yml says too."""
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
    """What a page loads, where it leads, and the anchors that it has."""

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
    # 404.html speaks of the root of a host, since it is shown at any address
    return {page: Read(page.read_text()) for page in site.rglob("*.html") if page.name != "404.html"}


def leads_nowhere(page: Path, link: str, read: dict[Path, Read]) -> bool:
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
    """The twin of the test above."""
    assert len(Read(html).loads_from_outside()) == 1


def test_every_link_of_the_site_has_an_end(site: Path) -> None:
    read = pages(site)
    links = [(page, link) for page in read for link in read[page].leads]
    assert len(links) > 300
    assert [f"{page.name}: {link}" for page, link in links if leads_nowhere(page, link, read)] == []


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
    """The twin of the test above."""
    (tmp_path / "program.py").write_text("answer = 42\n")
    done = build_a_page(repository, tmp_path, "[here](#a-page) [outside](../program.py)")
    assert done.returncode == 0, done.stderr
    assert "42" in (tmp_path / "site" / "files" / "program.py.html").read_text()


def test_what_the_package_exports_is_on_the_api_page(site: Path) -> None:
    anchors = Read((site / "api.html").read_text()).anchors
    documented = {anchor.rsplit(".", 1)[-1] for anchor in anchors if anchor.startswith("mirnet.")}
    assert {name for name in mirnet.__all__ if not name.startswith("__")} - documented == set()


def test_the_fields_of_settings_are_a_list(site: Path) -> None:
    assert re.search(r"<li>\s*(<p>)?<code>strip_location</code>: leave out", (site / "api.html").read_text())


OF_PAIRS = ["psnr", "psnr_gt_mean", "psnr_true_exposure", "ssim", "ssim_true_exposure", "stops_error_rms"]
OF_NOISE = ["psnr_sigma_10", "psnr_sigma_25", "psnr_sigma_50"]


@pytest.mark.parametrize(
    ("name", "scored", "fast"),
    [("lite", OF_PAIRS, ["bf16", "int8"]), ("free", OF_PAIRS, []), ("denoise", OF_NOISE, [])],
)
def test_the_page_of_the_weights_says_what_their_cards_say(
    repository: Path, name: str, scored: list[str], fast: list[str]
) -> None:
    page = (repository / "docs" / "weights.md").read_text()
    weights = catalog.find(name)
    card = weights.card
    assert (sorted(card.scores), sorted(card.fast)) == (scored, fast)
    numbers = [f"{score:.2f} dB" for kind, score in card.scores.items() if kind.startswith("psnr")]
    numbers += [f"{score:.3f}" for kind, score in card.scores.items() if kind.startswith("ssim")]
    numbers += [f"{score:.2f} stops" for kind, score in card.scores.items() if kind == "stops_error_rms"]
    numbers += [f"{card.parameters:,}", f"{card.kflop_per_px} kFLOP", f"{weights.path.stat().st_size / 1e6:.1f} MB"]
    numbers += [f"{card.overlap_px} pixels", f"{card.export['parity']}"]
    numbers += [f"by {lost['psnr_true_exposure_loss']:.3f} dB" for lost in card.fast.values()]
    words = [card.sha256, card.protocol, card.licence, *card.source.split(": ", 1)]
    words += [f"- {failure}\n" for failure in card.known_failures]
    assert [said for said in [*numbers, *words] if said not in page] == []


def test_the_page_of_the_weights_says_nothing_that_their_cards_do_not(repository: Path) -> None:
    page = (repository / "docs" / "weights.md").read_text()
    cards = [weights.card for weights in mirnet.list_weights()]
    assert page.count("\n- ") == len({failure for card in cards for failure in card.known_failures})
    for card in cards:
        listed = [f"| {source['name']} | {source['licence']} |" in page for source in card.data]
        assert all(listed) or card.name == "free"  # whose hundred photographs its card lists
