"""The commands, options, scripts and paths that README and the pages of docs/ name exist."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).resolve().parent.parent / "README.md"
PAGES = [README, *sorted((README.parent / "docs").glob("*.md"))]


def code_lines(language: str, pages: list[Path]) -> list[str]:
    blocks = [block for page in pages for block in re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)]
    return [line for block in blocks for line in block.splitlines() if line]


def verb_of(command: list[str]) -> tuple[str, ...]:
    """`data` is a family of commands, the others are one."""
    return tuple(command[: 2 if command[0] == "data" else 1])


LINES = (line.replace("torchrun --nproc-per-node 2 -m ", "") for line in code_lines("sh", PAGES))
COMMANDS = [shlex.split(line, comments=True)[1:] for line in LINES if line.startswith("mirnet ")]


@pytest.mark.parametrize("verb", sorted({verb_of(command) for command in COMMANDS}), ids=" ".join)
def test_every_option_that_the_pages_use_is_in_its_help(verb: tuple[str, ...]) -> None:
    wide = {"COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "mirnet", *verb, "--help"], capture_output=True, text=True, env=wide, check=False
    )
    assert done.returncode == 0, done.stderr
    used = {part for command in COMMANDS if verb_of(command) == verb for part in command if re.match(r"--?[a-z]", part)}
    assert {option for option in used if not re.search(rf"(?<!\S){option}\b", done.stdout)} == set()


def test_every_script_that_readme_names_can_be_run() -> None:
    scripts = [line.split()[0] for line in code_lines("sh", [README]) if line.startswith("scripts/")]
    assert scripts != []
    assert [name for name in scripts if not (README.parent / name).stat().st_mode & 0o100] == []


def test_the_python_of_readme_is_python() -> None:
    compile("\n".join(code_lines("python", [README])), "README.md", "exec")


def test_every_link_within_the_repository_leads_somewhere() -> None:
    documents = [*README.parent.glob("*.md"), README.parent / "examples" / "README.md"]
    links = [(page, link) for page in documents for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text())]
    assert links != []
    assert [f"{page.name}: {link}" for page, link in links if not (page.parent / link).exists()] == []


def test_every_path_that_contributing_names_exists() -> None:
    text = (README.parent / "CONTRIBUTING.md").read_text()
    paths = re.findall(r"`((?:src|docs|tests|examples)/[\w./]+)`", text)
    assert len(paths) > 15
    assert [path for path in paths if not (README.parent / path).exists()] == []
