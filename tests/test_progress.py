"""A bar shows how far several pictures are and how long they will take, on a terminal only."""

import subprocess
import sys
import threading

import pytest

from mirnet.cli.progress import progress_bar


@pytest.fixture
def terminal(monkeypatch):
    """Call it in a test: standard error is a terminal from then on."""

    def here() -> None:
        for name, value in {"TERM": "xterm", "COLUMNS": "100"}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)

    return here


def test_a_bar_counts_pictures_and_what_is_done_of_those_in_work(terminal, capsys):
    terminal()
    with progress_bar("enhancing", 4) as bar:
        bar.within(0.5, "a")
        other = threading.Thread(target=bar.within, args=[0.5, "b"])
        other.start()
        other.join()
        bar.advance("a")  # a whole one, and half of b
        bar.say("a -> b", failed=False)
    said = capsys.readouterr()
    assert said.out == "a -> b\n"
    for part in ("enhancing", "38 %", "1/4", ":"):
        assert part in said.err


def test_one_picture_needs_no_count(terminal, capsys):
    terminal()
    with progress_bar("enhancing", 1) as bar:
        bar.within(0.25)
        bar.say("half-way", failed=True)
    said = capsys.readouterr().err
    assert "25 %" in said
    assert "half-way" in said
    assert "/1" not in said


def test_elsewhere_only_the_lines_are_seen_and_rich_is_not_loaded():
    code = (
        "import sys; from mirnet.cli.progress import progress_bar\n"
        "with progress_bar('x', 2) as bar: bar.within(0.5); bar.advance(); bar.say('line', failed=False)\n"
        "assert 'rich' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "line\n", "")
