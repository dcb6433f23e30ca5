"""The page, as people use it: a real browser, the real service, the real network, small photographs."""

import hashlib
import io
import json
import re
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from axe_playwright_python.sync_playwright import Axe
from page_browser import Visit, chromium, dark_file, pixels_of, serving, visit
from playwright.sync_api import Browser, Dialog, Page

FACES = [(width, theme) for width in (360, 1280) for theme in ("dark", "light")]
Open = Callable[..., AbstractContextManager[Visit]]


@pytest.fixture
def page_folder(repository: Path) -> Path:
    return repository / "src/mirnet/service/page"


@pytest.fixture(scope="module")
def browser(require_tool: Callable[[str], str]) -> Iterator[Browser]:
    with chromium(require_tool("chromium")) as browser:
        yield browser


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    with serving() as (address, _):
        yield address


@pytest.fixture
def come(browser: Browser, origin: str) -> Iterator[Open]:
    """Opens the page; afterwards no request may have left the origin, and nothing may have been amiss."""
    visits: list[Visit] = []
    doors: list[AbstractContextManager[Visit]] = []

    def open_page(**options: Any) -> Visit:
        door = visit(browser, options.pop("origin", origin), **options)
        visits.append(door.__enter__())
        doors.append(door)
        return visits[-1]

    yield open_page
    for door in doors:
        door.__exit__(None, None, None)
    for seen in visits:
        assert seen.requests
        assert seen.abroad == []
        assert seen.complaints == []


@pytest.fixture
def party(come: Open) -> Visit:
    """The page with one dark photograph, ready."""
    seen = come()
    seen.add(dark_file())
    seen.wait_until_shown()
    return seen


def violations(page: Page) -> list[str]:
    """What axe finds against WCAG 2.2 A and AA and its own best practices."""
    found = Axe().run(page).response["violations"]
    return [f"{each['id']}: {node['html'][:200]}" for each in found for node in each["nodes"]]


# Files ---------------------------------------------------------------------------------------------------------------


def test_every_text_of_the_page_is_in_one_file_and_no_text_is_left_over(page_folder: Path) -> None:
    def keys(part: dict[str, Any], before: str = "") -> Iterator[str]:
        for name, value in part.items():
            yield from keys(value, f"{before}{name}.") if isinstance(value, dict) else [before + name]

    there = set(keys(json.loads((page_folder / "texts.en.json").read_text())))
    html = (page_folder / "index.html").read_text()
    scripts = "\n".join(path.read_text() for path in page_folder.glob("*.js") if path.name != "docs.js")
    asked = {*re.findall(r'data-(?:text|label)="([\w.]+)"', html), *re.findall(r'\b(?:text|say)\("([\w.]+)"', scripts)}
    families = re.findall(r"text\(`([\w.]+\.)\$\{", scripts)
    assert asked - there == set()
    assert {key for key in there - asked if not key.startswith(tuple(families))} == set()
    words = re.sub(r"<noscript>.*?</noscript>|<title>.*?</title>|<!--.*?-->|<[^>]*>", "", html, flags=re.DOTALL)
    assert words.replace("1:1", "").strip() == ""


def test_no_file_of_the_page_names_an_outside_host(page_folder: Path) -> None:
    for path in page_folder.glob("*.*"):
        if path.suffix in (".js", ".css", ".html", ".json", ".svg"):
            named = set(re.findall(r"(?:https?:)?//[\w-]+\.[\w.-]+", path.read_text()))
            assert named <= {"http://www.w3.org"}, path.name  # the name of SVG, where nobody goes


def test_vendored_files_are_those_that_were_looked_at_and_have_their_licence(page_folder: Path) -> None:
    table = (page_folder / "vendor/README.md").read_text()
    listed = re.findall(r"^\| `([\w./-]+)` .*`([0-9a-f]{64})` \|$", table, flags=re.MULTILINE)
    assert len(listed) == 5
    for name, sha256 in listed:
        assert hashlib.sha256((page_folder / "vendor" / name).read_bytes()).hexdigest() == sha256
        assert (page_folder / "vendor" / name).with_name("LICENSE").exists()


def test_the_examples_are_those_of_the_repository_and_small(page_folder: Path, repository: Path) -> None:
    pictures = list((page_folder / "examples").glob("*.jpg"))
    assert all(path.read_bytes() == (repository / "examples" / path.name).read_bytes() for path in pictures)
    assert sum(path.stat().st_size for path in pictures) < 250_000
    credits = (page_folder / "examples/README.md").read_text()
    assert all(path.name in credits for path in pictures)


# The first minute ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "theme"), FACES)
def test_an_example_comes_back_bright_and_every_state_is_accessible(come: Open, width: int, theme: str) -> None:
    seen = come(width=width, theme=theme)
    page = seen.page
    assert page.locator("#nowhere").inner_text().endswith("they stay on this computer, in its memory alone.")
    assert violations(page) == []
    page.click("#examples button:has-text('Cat')")
    page.wait_for_selector(".card")
    seen.wait_until_shown()
    assert page.locator(".card .state").inner_text() == "ready"
    assert seen.shown("after")[:, :, :3].mean() > 3 * seen.shown("before")[:, :, :3].mean()
    assert page.locator("#exposure-value").inner_text().startswith("proposed +")
    page.click("summary")
    assert violations(page) == []
    seen.add({"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no picture"})
    seen.wait_until_shown()
    page.click(".card[data-state=failed] .face")
    assert "expected a JPEG" in page.locator("#apology").inner_text()
    assert "expected a JPEG" in page.locator(".card[data-state=failed] .problem").inner_text()
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_picture_in_work_is_shown_at_once_and_accessible(come: Open) -> None:
    seen = come()
    seen.page.route("**/v1/previews", lambda route: None)  # the answer never comes
    seen.add(dark_file())
    seen.page.wait_for_selector("#busy:not([hidden])")
    seen.until("async () => (await import('/page/main.js')).desk.viewer.pieces.length === 1")
    assert seen.page.locator(".card progress").is_visible()
    assert violations(seen.page) == []
    seen.page.click(".card .remove")
    assert seen.page.locator("#welcome").is_visible()


def test_photographs_are_decoded_one_after_the_other(come: Open) -> None:
    seen = come()
    seen.page.route("**/v1/previews", lambda route: None)  # until it answers, the page shows what it can
    seen.page.evaluate(
        """() => {
            const decode = Image.prototype.decode;
            Object.assign(window, { decoding: 0, most: 0, decoded: 0 });
            Image.prototype.decode = async function () {
                window.most = Math.max(window.most, ++window.decoding);
                await decode.call(this);
                await new Promise((resolve) => setTimeout(resolve, 20));
                window.decoding--;
                window.decoded++;
            };
        }"""
    )
    seen.add(dark_file(seed=1), dark_file(seed=2), dark_file(seed=3))
    seen.until("window.decoded === 3")
    assert seen.page.evaluate("window.most") == 1


def test_pulling_down_on_a_phone_does_not_reload(come: Open) -> None:
    for root in ("documentElement", "body"):
        assert come(width=360).page.evaluate(f"getComputedStyle(document.{root}).overscrollBehaviorY") == "contain"


def test_the_theme_follows_the_system_until_one_is_chosen_and_then_stays(come: Open) -> None:
    seen = come(theme="light")
    ground = "getComputedStyle(document.body).backgroundColor"
    light = seen.page.evaluate(ground)
    seen.page.click("#theme")  # light, as the system
    assert seen.page.evaluate(ground) == light
    seen.page.click("#theme")
    dark = seen.page.evaluate(ground)
    assert dark != light
    seen.page.reload()
    assert seen.page.evaluate(ground) == dark
    assert "dark" in str(seen.page.get_attribute("#theme", "aria-label"))


def test_who_wants_less_motion_gets_none(come: Open) -> None:
    seen = come(reduced_motion="reduce")
    moving = """[document, document.querySelector('#line').shadowRoot]
        .flatMap((root) => [...root.querySelectorAll('*')])
        .map((element) => getComputedStyle(element))
        .filter((style) => style.display) // what a slot replaces has no style
        .filter((style) => style.animationName !== 'none' || !/^(0s(, )?)*$/.test(style.transitionDuration)).length"""
    assert seen.page.evaluate(moving) == 0


# Ways in -------------------------------------------------------------------------------------------------------------

DROPPED = """([kind, name, content]) => {
    const data = new DataTransfer();
    const bytes = Uint8Array.from(atob(content), (each) => each.charCodeAt(0));
    data.items.add(new File([bytes], name, { type: 'image/jpeg' }));
    if (kind === 'paste') document.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true }));
    else for (const type of ['dragover', 'drop']) {
        document.body.dispatchEvent(new DragEvent(type, { dataTransfer: data, bubbles: true, cancelable: true }));
        if (type === 'dragover') window.wasCurtainShown = !document.querySelector('#curtain').hidden;
    }
}"""


def test_photographs_are_dropped_pasted_and_chosen_and_stand_in_a_queue(come: Open) -> None:
    import base64

    seen = come()
    page = seen.page
    for kind, name in [("drop", "dropped.jpg"), ("paste", "image.png")]:
        page.evaluate(DROPPED, [kind, name, base64.b64encode(dark_file()["buffer"]).decode()])
    assert page.evaluate("window.wasCurtainShown")
    assert page.locator("#curtain").is_hidden()
    with page.expect_file_chooser() as choosing:
        page.click(".adders [data-choose]")
    assert choosing.value.is_multiple()
    choosing.value.set_files([dark_file(name="one.jpg", seed=1), dark_file(name="two.jpg", seed=2)])
    seen.wait_until_shown()
    assert page.locator(".card .name").all_inner_texts() == ["dropped.jpg", "pasted 1.png", "one.jpg", "two.jpg"]
    assert page.locator(".card .state").all_inner_texts() == ["ready"] * 4
    painted = "(canvas) => canvas.getContext('2d').getImageData(40, 40, 1, 1).data[3]"
    assert [card.evaluate(painted) for card in page.locator(".thumbnail").all()] == [255] * 4
    page.focus(".card:nth-child(2) .remove")
    page.keyboard.press("Enter")
    assert page.locator(".card").count() == 3
    assert page.evaluate("document.activeElement.textContent").startswith("one.jpg")


def test_a_phone_offers_its_camera_and_a_desk_does_not(come: Open) -> None:
    phone = come(width=360)
    with phone.page.expect_file_chooser() as choosing:
        phone.page.click(".doorstep [data-camera]")
    assert choosing.value.element.get_attribute("capture") == "environment"
    assert come().page.locator(".doorstep [data-camera]").is_hidden()


def test_a_picture_that_browsers_cannot_show_is_shown_by_the_server(come: Open) -> None:
    seen = come()
    seen.add(dark_file(name="scan.tif", depth=16))
    seen.wait_until_shown()
    assert "TIFF · 16 bit" in seen.page.locator("#facts").inner_text()
    assert seen.shown("before").shape == (120, 160, 4)
    assert seen.shown("after")[:, :, :3].mean() > 1.5 * seen.shown("before")[:, :, :3].mean()
    before = len(seen.asked("POST .*/v1/previews/"))
    seen.slide("strength", 0)  # not blended here: the server renders it
    seen.wait_until_shown()
    assert len(seen.asked("POST .*/v1/previews/")) == before + 1
    np.testing.assert_allclose(seen.shown("after").astype(int), seen.shown("before"), atol=1)


# The stage -----------------------------------------------------------------------------------------------------------


def line(page: Page) -> int:
    return int(str(page.get_attribute("#line", "aria-valuenow")))


def test_the_line_moves_by_keyboard_click_and_drag(party: Visit) -> None:
    page = party.page
    assert line(page) == 50
    page.focus("#line")
    page.keyboard.press("ArrowLeft")
    assert line(page) == 48
    page.keyboard.press("PageUp")
    assert line(page) == 58
    page.keyboard.press("Home")
    assert line(page) == 0
    box = page.locator("#stage").bounding_box()
    assert box
    middle = box["y"] + box["height"] / 2
    page.mouse.click(box["x"] + 0.25 * box["width"], middle)
    assert line(page) == pytest.approx(25, abs=1)
    party.until_still("#line")  # it glides there
    page.mouse.move(box["x"] + 0.25 * box["width"], middle)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.7 * box["width"], middle, steps=4)
    page.mouse.up()
    assert line(page) == pytest.approx(70, abs=1)


def test_the_line_moves_by_touch_and_two_fingers_zoom(come: Open) -> None:
    seen = come(width=360)
    page = seen.page
    seen.add(dark_file())
    seen.wait_until_shown()
    box = page.locator("#stage").bounding_box()
    assert box
    fingers = page.context.new_cdp_session(page)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        there = [{"x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"], "id": number}
                 for number, (x, y) in enumerate(points)]  # fmt: skip
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": there})

    touch("touchStart", (0.5, 0.5))
    for x in (0.45, 0.4, 0.3, 0.2):
        touch("touchMove", (x, 0.5))
    touch("touchEnd")
    assert line(page) == pytest.approx(20, abs=2)
    before = seen.desk("desk.viewer.view.scale")
    touch("touchStart", (0.4, 0.5), (0.6, 0.5))
    for spread in (0.15, 0.2, 0.25, 0.3):
        touch("touchMove", (0.5 - spread, 0.5), (0.5 + spread, 0.5))
    touch("touchEnd")
    assert seen.desk("desk.viewer.view.scale") == pytest.approx(3 * before, rel=0.15)


CANVAS = """async (canvas) => {
    for (let frame = 0; frame < 2; frame++) await new Promise(requestAnimationFrame);
    return canvas.toDataURL();
}"""


def test_pressing_and_holding_shows_the_original(party: Visit) -> None:
    page = party.page
    before, after = page.locator("#before"), page.locator("#after")
    original, bright = before.evaluate(CANVAS), after.evaluate(CANVAS)
    assert original != bright
    box = page.locator("#stage").bounding_box()
    assert box
    for press, release in [
        (lambda: (page.mouse.move(box["x"] + 200, box["y"] + 200), page.mouse.down()), page.mouse.up),
        (lambda: (page.hover("#hold"), page.mouse.down()), page.mouse.up),
        (lambda: (page.focus("#stage"), page.keyboard.down(" ")), lambda: page.keyboard.up(" ")),
        (lambda: (page.focus("#hold"), page.keyboard.down("Enter")), lambda: page.keyboard.up("Enter")),
    ]:
        press()
        page.wait_for_selector(".viewer.holding")
        assert after.evaluate(CANVAS) == original
        release()
        assert after.evaluate(CANVAS) == bright


def test_both_sides_zoom_and_move_in_step_to_the_pictures_own_pixels(party: Visit) -> None:
    page = party.page
    page.focus("#stage")
    fitting = party.desk("desk.viewer.view.scale")
    page.keyboard.press("+")
    assert party.desk("desk.viewer.view.scale") == pytest.approx(1.4 * fitting)
    x = party.desk("desk.viewer.view.x")
    page.keyboard.press("ArrowRight")
    assert party.desk("desk.viewer.view.x") > x
    page.keyboard.press("0")
    assert party.desk("desk.viewer.view.scale") == fitting
    page.keyboard.press("1")
    assert page.locator("#zoom").inner_text() == "100 %"
    for side in ("before", "after"):  # at 1:1 the stage shows the very values, at the same place
        stage = pixels_of(page.locator(f"#{side}").evaluate(CANVAS))
        top, left = round(stage.shape[0] / 2 - 60), round(stage.shape[1] / 2 - 80)
        np.testing.assert_array_equal(stage[top : top + 120, left : left + 160], party.shown(side))
    page.keyboard.press("-")
    page.hover("#stage")
    page.mouse.wheel(0, -400)
    party.until("async () => (await import('/page/main.js')).desk.viewer.view.scale > 1.2")
    page.click("#fit")
    assert party.desk("desk.viewer.view.scale") == fitting
    page.click("#full")
    party.until("document.fullscreenElement?.id === 'viewer'")
    page.keyboard.press("f")


def test_the_histogram_tells_both_brightnesses(party: Visit) -> None:
    said = str(party.page.get_attribute("#histogram", "aria-label"))
    before, after = (int(each) for each in re.findall(r"(\d+) %", said))
    assert before < after
    means = [party.shown(side)[:, :, :3] @ [0.2126, 0.7152, 0.0722] / 2.55 for side in ("before", "after")]
    assert [before, after] == [pytest.approx(mean.mean(), abs=1) for mean in means]


# Sliders -------------------------------------------------------------------------------------------------------------


def of_the_server(seen: Visit, **options: object) -> np.ndarray:
    """(h, w, 3) uint8: the server's own rendering of the shown picture, at the pixels that are shown."""
    number = seen.desk("desk.developer.picture.preview.id")
    pixels = seen.desk("desk.developer.whole.after.width * desk.developer.whole.after.height")
    query = "&".join(f"{name}={value}" for name, value in {"pixels": pixels, **options}.items())
    request = urllib.request.Request(f"{seen.origin}v1/previews/{number}?{query}", method="POST")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return np.asarray(PIL.Image.open(io.BytesIO(answer.read())).convert("RGB"))


def test_denoise_and_strength_are_blended_here_as_the_server_would(party: Visit) -> None:
    asked = len(party.asked("/v1/previews/"))
    np.testing.assert_allclose(party.shown("after")[:, :, :3].astype(int), of_the_server(party), atol=1)
    for denoise, strength in [(0, 100), (100, 100), (37, 63), (80, 5), (50, 0)]:
        party.slide("denoise", denoise)
        party.slide("strength", strength)
        party.frame()
        there = of_the_server(party, denoise=denoise / 100, strength=strength / 100)
        np.testing.assert_allclose(party.shown("after")[:, :, :3].astype(int), there, atol=1)
    party.page.click("#denoise-auto")
    party.slide("strength", 63)
    party.frame()
    np.testing.assert_allclose(party.shown("after")[:, :, :3].astype(int), of_the_server(party, strength=0.63), atol=1)
    party.wait_until_shown()
    assert len(party.asked("/v1/previews/")) == asked  # nothing was asked of the server for it


def test_an_exposure_is_rendered_small_first_with_one_upload(come: Open) -> None:
    seen = come()
    seen.add(dark_file(640, 860))
    seen.wait_until_shown()
    before = len(seen.requests)
    bright = "desk.developer.whole.image.data.reduce((sum, value) => sum + value, 0)"
    dim = seen.desk(bright)
    seen.slide("exposure", 1.5)
    seen.frame()
    assert seen.desk(bright) > dim  # a first guess, at once
    assert seen.page.locator("#exposure-value").inner_text().endswith("yours +1.5")
    seen.wait_until_shown()
    renderings = [each for each in seen.requests[before:] if each.startswith("POST")]
    pixels = [int(str(re.search(r"pixels=(\d+)", each)[1])) for each in renderings]  # type: ignore[index]
    assert len(pixels) == 2
    assert pixels[0] <= 350_000 < pixels[1] <= 1_500_000
    assert all("exposure=1.5" in each for each in renderings)
    assert len(seen.asked(r"POST .*/v1/previews$")) == 1
    np.testing.assert_allclose(seen.shown("after")[:, :, :3].astype(int), of_the_server(seen, exposure=1.5), atol=1)
    seen.page.click("#pixels")
    seen.wait_until_shown()
    x, y, width, height = (int(each) for each in seen.desk("desk.developer.details[0].region"))
    assert f"region={x}%2C{y}%2C{width}%2C{height}" in seen.requests[-1]  # at 1:1 it is the picture's own pixels
    assert seen.desk("desk.developer.details[0].after.width") == width


def test_who_pans_at_1_to_1_waits_for_what_was_not_yet_seen(come: Open) -> None:
    seen = come()
    seen.add(dark_file(900, 1400))
    seen.wait_until_shown()
    seen.page.click("#pixels")
    seen.wait_until_shown()

    def asked_for(act: str) -> int:
        before = len(seen.requests)
        seen.page.evaluate(f"async () => {{ const {{ desk }} = await import('/page/main.js'); desk.viewer.{act}; }}")
        seen.wait_until_shown()
        regions = [re.search(r"POST .*region=(\d+)%2C(\d+)%2C(\d+)%2C(\d+)", each) for each in seen.requests[before:]]
        return sum(int(found[3]) * int(found[4]) for found in regions if found)

    _, _, width, height = (int(each) for each in seen.desk("desk.viewer.region"))
    assert width < 1300
    assert height < 850
    assert 0 < asked_for("go({ scale: 1, x: 720, y: 470 })") < 0.15 * width * height
    assert asked_for("go({ scale: 1, x: 700, y: 450 })") == 0
    one = "new Set(desk.developer.details.map((each) => each.blended)).size"
    seen.slide("strength", 40)
    seen.frame()
    assert asked_for("go({ scale: 1, x: 720, y: 470 })") == 0
    seen.frame()
    assert seen.desk(one) == 1  # what came into sight again follows the sliders too
    left, top, width, height = (int(each) for each in seen.desk("desk.viewer.region"))
    there = of_the_server(seen, strength=0.4, region=f"{left},{top},{width},{height}")
    for (x, y, wide, high), address in seen.desk("desk.developer.details.map((e) => [e.region, e.after.toDataURL()])"):
        piece = pixels_of(address)[:, :, :3].astype(int)
        right, bottom = min(x + wide, left + width), min(y + high, top + height)
        within = piece[max(top - y, 0) : bottom - y, max(left - x, 0) : right - x]
        np.testing.assert_allclose(
            within, there[max(y - top, 0) : bottom - top, max(x - left, 0) : right - left], atol=1
        )


def test_a_slider_tells_nothing_of_another_picture(come: Open) -> None:
    seen = come()
    seen.add(dark_file(), dark_file(name="b.jpg", seed=2))
    seen.wait_until_shown()
    knob = seen.page.locator("#denoise")
    for leave in ("#reset", ".card:nth-child(2) .face"):
        seen.slide("denoise", 30)
        seen.page.click("#denoise-auto")
        assert knob.input_value() == "30"  # pressed again, it goes back there
        seen.page.click(leave)
        assert knob.input_value() == "100"


def test_mood_exposure_kept_and_another_photograph_to_match_change_the_picture(party: Visit) -> None:
    page = party.page
    mean = {"day": party.shown("after").mean()}
    for name in ("night", "keep"):
        page.click(f"#{name}")
        party.wait_until_shown()
        mean[name] = party.shown("after").mean()
        assert page.get_attribute(f"#{name}", "aria-pressed") == "true"
    assert page.get_attribute("#night", "aria-pressed") == "false"
    assert mean["keep"] < mean["night"] < mean["day"]
    with page.expect_file_chooser() as choosing:
        page.click("#match")
    choosing.value.set_files(dark_file(name="dim.jpg", seed=5))
    party.wait_until_shown()
    assert page.locator("#match").inner_text() == "Matches dim.jpg"
    assert page.locator("#exposure").is_disabled()
    assert party.shown("after").mean() == pytest.approx(mean["keep"], rel=0.2)
    page.click("#reset")
    party.wait_until_shown()
    assert party.shown("after").mean() == mean["day"]


# Saving --------------------------------------------------------------------------------------------------------------


def saved(page: Page, button: str = "#save") -> tuple[str, bytes]:
    with page.expect_download() as downloading:
        page.click(button)
    return downloading.value.suggested_filename, Path(downloading.value.path()).read_bytes()


def test_a_picture_is_saved_as_it_came_or_in_another_format_under_its_name_with_bright(party: Visit) -> None:
    page = party.page
    party.slide("strength", 50)
    party.slide("exposure", 0.5)
    wishes = [("", "jpg", "JPEG"), ("png", "png", "PNG"), ("webp", "webp", "WEBP"), ("tiff", "tif", "TIFF")]
    for choice, suffix, format in wishes:
        page.select_option("#format", choice)
        said, content = saved(page)
        picture = PIL.Image.open(io.BytesIO(content))
        assert (said, picture.format, picture.size) == (f"party.bright.{suffix}", format, (160, 120))
        if choice == "png":
            there = of_the_server(party, strength=0.5, exposure=0.5).astype(int)
            np.testing.assert_allclose(np.asarray(picture.convert("RGB")), there, atol=1)
    party.until("document.querySelector('.card .state').textContent === 'saved'")


def test_sixteen_bit_stay_sixteen_bit_and_the_suffix_keeps_its_case(come: Open) -> None:
    import tifffile

    seen = come()
    seen.add(dark_file(name="Scan 1.TIF", depth=16))
    seen.wait_until_shown()
    name, content = saved(seen.page)
    assert name == "Scan 1.bright.TIF"
    assert tifffile.imread(io.BytesIO(content)).dtype == np.uint16


def test_all_come_as_one_zip_with_names_that_differ(come: Open) -> None:
    seen = come()
    seen.add(dark_file(seed=1), dark_file(seed=2), {"name": "no.txt", "mimeType": "text/plain", "buffer": b"no"})
    seen.wait_until_shown()
    name, content = saved(seen.page, "#save-all")
    assert name == "bright.zip"
    archive = zipfile.ZipFile(io.BytesIO(content))
    assert archive.testzip() is None
    assert archive.namelist() == ["party.bright.jpg", "party.bright-2.jpg"]
    first, second = (PIL.Image.open(archive.open(each)) for each in archive.namelist())
    assert first.size == second.size == (160, 120)
    assert np.asarray(first).tolist() != np.asarray(second).tolist()


def test_a_reload_asks_while_something_is_unsaved_and_only_then(party: Visit) -> None:
    asked: list[str] = []
    party.add({"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no picture"})  # of it nothing can be lost
    party.wait_until_shown()

    def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    party.page.on("dialog", stay)
    party.page.click("#night")
    party.wait_until_shown()
    with party.page.expect_event("dialog"):
        party.page.evaluate("setTimeout(() => location.reload())")
    assert asked == ["beforeunload"]
    assert party.page.locator(".card").count() == 2
    saved(party.page)
    party.page.reload()
    assert asked == ["beforeunload"]
    assert party.page.locator("#welcome").is_visible()


RINGED = """[document.activeElement, document.activeElement.closest('.card')]
    .some((element) => element && getComputedStyle(element).outlineStyle !== 'none')"""


def test_everything_is_done_by_keyboard(come: Open) -> None:
    page = (seen := come()).page

    def tab_to(selector: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
                assert page.evaluate(RINGED), f"{selector} shows no focus"
                return
        raise AssertionError(f"the Tab key does not reach {selector}")

    tab_to("#examples li:last-child button")
    page.keyboard.press("Enter")
    page.wait_for_selector(".card")
    seen.wait_until_shown()
    bright = seen.shown("after").mean()
    for selector in ("#stage", "#line", "#hold", "#zoom-in", "#full", ".face", ".remove", "[data-choose]"):
        tab_to(selector)
    tab_to("#exposure")
    for _ in range(5):
        page.keyboard.press("ArrowLeft")
    seen.wait_until_shown()
    assert seen.shown("after").mean() < bright
    tab_to("#night")
    page.keyboard.press(" ")
    for selector in ("#match", "#denoise", "#strength", "summary", "#format"):
        tab_to(selector)
    tab_to("#save")
    with page.expect_download() as downloading:
        page.keyboard.press("Enter")
    assert downloading.value.suggested_filename == "cat-twin.bright.jpg"


# When something is amiss ---------------------------------------------------------------------------------------------


def test_a_failed_picture_can_be_tried_again_and_removed(come: Open) -> None:
    seen = come()
    page = seen.page
    told = {"type": "/docs#busy", "title": "No", "status": 422, "detail": "A sentence of the server."}
    page.route("**/v1/previews", lambda route: route.fulfill(status=422, json=told))
    seen.add(dark_file(name="one.jpg"), dark_file(name="two.jpg"))
    seen.wait_until_shown()
    assert page.locator(".problem").all_inner_texts() == ["A sentence of the server."] * 2
    assert page.locator("#apology p").first.inner_text() == "A sentence of the server."
    page.unroute("**/v1/previews")
    page.click("#retry")
    page.wait_for_selector(".card:first-child[data-state=ready]")
    seen.wait_until_shown()
    assert page.locator("#apology").is_hidden()
    page.click(".card:last-child .remove")
    assert page.locator(".card").count() == 1


def test_a_file_beyond_the_servers_limit_is_not_even_sent(come: Open) -> None:
    seen = come()
    seen.desk("desk.pictures.largestFile = 2_000_000")
    seen.add({"name": "large.jpg", "mimeType": "image/jpeg", "buffer": bytes(3_000_000)})
    seen.wait_until_shown()
    assert "has 3 MB, and this mirnet takes 2 MB at most" in seen.page.locator("#apology").inner_text()
    assert seen.asked("POST") == []


def test_a_rendering_that_is_decoded_too_late_is_not_shown_in_place_of_another_picture(party: Visit) -> None:
    party.page.evaluate(
        """() => {
            const decode = createImageBitmap;
            window.createImageBitmap = async (...given) => {
                window.createImageBitmap = decode; // only the first one takes its time
                await new Promise((letGo) => (window.letGo = letGo));
                const image = await decode(...given);
                window.decodedLate = true;
                return image;
            };
        }"""
    )
    party.slide("exposure", 1)
    party.until("window.letGo !== undefined")
    party.add(dark_file(90, 70, name="small.jpg"))
    party.page.click(".card:last-child .face")
    party.wait_until_shown()
    party.page.evaluate("letGo()")
    party.until("window.decodedLate === true")
    party.frame()
    assert party.desk("desk.developer.whole.region") == [0, 0, 70, 90]


def test_a_photograph_that_cannot_be_matched_is_left_out_with_a_sentence(party: Visit) -> None:
    page = party.page
    bright = party.shown("after").mean()
    page.set_input_files("#match-file", {"name": "no.jpg", "mimeType": "image/jpeg", "buffer": b"no picture"})
    page.wait_for_selector("#match-problem:not([hidden])")
    party.wait_until_shown()
    said = page.locator("#match-problem").inner_text()
    assert said.startswith("no.jpg, the photograph to match, is left out: ")
    assert "expected a JPEG" in said
    assert page.locator(".card .state").inner_text() == "ready"
    assert page.locator("#exposure").is_enabled()
    assert party.shown("after").mean() == bright
    assert violations(page) == []
    page.click("#night")
    assert page.locator("#match-problem").is_hidden()


def test_a_picture_whose_rendering_failed_is_tried_again_with_other_settings(party: Visit) -> None:
    page = party.page
    refused = {"title": "No", "status": 422, "detail": "Not with these settings."}
    page.route("**/v1/previews/**", lambda route: route.fulfill(status=422, json=refused))
    party.slide("exposure", 1)
    page.wait_for_selector("#apology:not([hidden])")
    page.unroute("**/v1/previews/**")
    page.click("#reset")
    party.wait_until_shown()
    assert page.locator("#apology").is_hidden()
    assert party.shown("after").mean() > party.shown("before").mean()


def test_a_zip_that_cannot_be_made_says_so_and_saving_goes_on(party: Visit) -> None:
    page = party.page
    party.add(dark_file(seed=1))
    party.wait_until_shown()
    page.evaluate("Response.prototype.blobOf = Response.prototype.blob; delete AbortSignal.any")
    page.evaluate(
        """() => { Response.prototype.blob = function () {
            return this.url ? this.blobOf() : Promise.reject(new RangeError('no memory')); // no address: a zip
        } }"""
    )
    page.click("#save-all")
    party.until("document.querySelectorAll('.card[data-state=failed]').length === 2")
    assert page.locator(".problem").first.inner_text() == "The work on it was cut off; try again."
    assert party.complaints
    party.complaints.clear()  # told to whoever mends it
    page.click("#retry")
    party.wait_until_shown()
    assert saved(page)[0] == "party.bright.jpg"


def test_where_canvases_do_not_tell_the_truth_the_server_renders_everything(come: Open) -> None:
    seen = come()
    seen.page.add_init_script(
        """const read = CanvasRenderingContext2D.prototype.getImageData;
        CanvasRenderingContext2D.prototype.getImageData = function (...where) {
            const image = read.apply(this, where);
            image.data[100] ^= 1;
            return image;
        };"""
    )
    seen.page.reload()
    seen.until("document.querySelector('#format').options.length > 1")
    seen.add(dark_file())
    seen.wait_until_shown()
    seen.slide("strength", 0)
    seen.wait_until_shown()
    np.testing.assert_allclose(seen.shown("after").astype(int), seen.shown("before"), atol=1)
    assert seen.asked("strength=0.*layers=false")
    assert seen.asked("layers=true") == []
    assert seen.page.locator(".histogram").is_hidden()


def test_the_page_is_readable_where_colours_of_two_themes_are_unknown(page_folder: Path) -> None:
    plain, modern = (page_folder / "style.css").read_text().split("@supports (color: light-dark(red, red)) {", 1)
    assert "light-dark(" not in plain.replace("@supports not (color: light-dark(red, red))", "")
    palette, rest = modern.split("\n}\n", 1)
    assert "light-dark(" not in rest
    for name, dark in re.findall(r"(--[\w-]+): light-dark\([^,]+, ([^)]+)\);", palette):
        assert f"{name}: {dark};" in plain


def test_a_busy_server_is_asked_again_when_it_says(come: Open) -> None:
    seen = come()
    answers = iter([429, 503])

    def busy(route: Any) -> None:
        status = next(answers, None)
        if status is None:
            route.continue_()
        else:
            route.fulfill(status=status, headers={"Retry-After": "1"}, json={"detail": "Later.", "status": status})

    seen.page.route("**/v1/previews", busy)
    seen.add(dark_file())
    seen.wait_until_shown()
    assert seen.page.locator(".card .state").inner_text() == "ready"
    assert len(seen.asked("POST .*/v1/previews$")) == 3


def test_a_server_that_says_nothing_counts_as_away(party: Visit) -> None:
    page = party.page
    page.evaluate("{ const timeout = AbortSignal.timeout.bind(AbortSignal); AbortSignal.timeout = () => timeout(50); }")
    page.route("**/healthz", lambda route: None)
    page.route("**/v1/previews/**", lambda route: route.abort())
    before = party.shown("after").mean()
    party.slide("exposure", 1)
    page.wait_for_selector("#banner:not([hidden])")
    page.unroute("**/v1/previews/**")
    page.unroute("**/healthz")
    page.wait_for_selector("#banner", state="hidden")
    party.wait_until_shown()
    assert party.shown("after").mean() > before


def test_a_preview_that_the_server_dropped_is_sent_again_by_itself(party: Visit) -> None:
    number = party.desk("desk.developer.picture.preview.id")
    urllib.request.urlopen(urllib.request.Request(f"{party.origin}v1/previews/{number}", method="DELETE"), timeout=30)
    party.page.focus("#stage")
    party.page.keyboard.press("+")
    before = party.shown("after").mean()
    party.slide("exposure", 1)
    party.wait_until_shown()
    assert party.desk("desk.developer.picture.preview.id") != number
    assert party.shown("after").mean() > before
    assert party.desk("desk.viewer.zoomed")  # what was on the stage stayed there
    assert len(party.asked("POST .*/v1/previews$")) == 2


def test_a_token_is_asked_for_taken_from_the_address_and_hidden_and_a_lost_server_is_waited_for(come: Open) -> None:
    with serving("--token", "open-sesame") as (origin, process):
        asked = come(origin=origin).page
        asked.add_init_script(
            "Object.defineProperty(window, 'sessionStorage', { get() { throw new Error('blocked'); } })"
        )
        asked.reload()  # now in a browser that keeps nothing
        asked.wait_for_selector("#token[open]")
        assert asked.locator("#token").is_visible()
        assert violations(asked) == []
        for _ in range(3):
            asked.keyboard.press("Escape")  # without a token there is nothing to go back to
        asked.wait_for_selector("#token[open]")
        asked.fill("#token input", "sésame ✓")
        asked.keyboard.press("Enter")
        assert "ASCII letters" in asked.locator("#token-wrong").inner_text()
        asked.fill("#token input", "wrong")
        asked.keyboard.press("Enter")
        asked.wait_for_selector("#token-wrong:has-text('That was not the token.')")
        asked.fill("#token input", "open-sesame")
        asked.keyboard.press("Enter")
        asked.wait_for_selector("#token:not([open])", state="attached")

        seen = come(origin=origin, path="#token=open-sesame")
        page = seen.page
        assert page.url == origin
        seen.add(dark_file())
        seen.wait_until_shown()
        before = seen.shown("after").mean()
        process.kill()
        process.wait()
        seen.slide("exposure", 1)
        page.wait_for_selector("#banner:not([hidden])")
        assert "does not answer" in page.locator("#banner").inner_text()
        assert violations(page) == []
        with serving("--token", "open-sesame", port=int(origin.rsplit(":", 1)[1].strip("/"))):
            page.wait_for_selector("#banner", state="hidden")
            seen.wait_until_shown()
            assert seen.shown("after").mean() > before
            assert saved(page)[0] == "party.bright.jpg"
            page.evaluate("sessionStorage.clear()")
