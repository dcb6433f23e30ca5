"""Files of the repository that the pages of docs/ link to become pages of the site, below files/.

In the repository, a link such as `../benchmarks/README.md` works as it is; a site contains docs/ alone. So this hook
adds the files outside docs/ that pages link to, and the files that those link to: Markdown as it is, program text and
notebooks as pages that show them, images as they are. It leaves broken links alone: mkdocs warns of them, and warnings
are errors.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page
from notebook_page import FENCE, notebook_as_markdown

DOCS, FILES = "docs/", "files/"
LINK = re.compile(r"(?<=\]\()([^)#\s:]+)(?=[)#])")
LANGUAGES = {".py": "python", ".json": "json", ".sh": "sh", ".mjs": "js", ".yaml": "yaml", ".cff": "yaml",
             ".service": "ini", "": "text"}  # fmt: skip
SHOWN_ON_A_PAGE = {*LANGUAGES, ".ipynb"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds to the files of docs/ those that the menu names below files/, and all that these pages link to."""
    root = root_of(config)
    todo = [DOCS + file.src_uri for file in files.documentation_pages()]
    todo += [source_of(path) for path in in_menu(config.nav) if path.startswith(FILES)]
    seen = set(todo)
    for path in todo:  # grows as it goes
        if not in_docs(path):
            files.append(_file(root / path, place_of(path), config))
        fresh = set(linked(root, path)) - seen if path.endswith(".md") else set()
        seen |= fresh
        todo += sorted(other for other in fresh if not in_docs(other))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrites the links of a page to the places where the site has their targets."""
    here = page.file.src_uri
    path = here.removeprefix(FILES) if here.startswith(FILES) else DOCS + here
    root = root_of(config)
    if not (root / path).is_file():  # program text or a notebook, on a page of its own
        return markdown

    def lead(match: re.Match[str]) -> str:
        target = resolved(path, match[0])
        if not (root / target).is_file():
            return match[0]
        return posixpath.relpath(place_of(target), posixpath.dirname(here) or ".")

    return LINK.sub(lead, markdown)


def place_of(path: str) -> str:
    """Where the site has a file of the repository: `docs/data.md` at data.md, `src/a.py` at files/src/a.py.md."""
    if in_docs(path):
        return path.removeprefix(DOCS)
    return FILES + path + (".md" if Path(path).suffix in SHOWN_ON_A_PAGE else "")


def source_of(place: str) -> str:
    """The file of the repository that the site has at `place`, below files/: the reverse of `place_of`."""
    path = place.removeprefix(FILES)
    without = path.removesuffix(".md")
    return without if Path(without).suffix in SHOWN_ON_A_PAGE - {""} else path


def in_docs(path: str) -> bool:
    """Whether mkdocs itself takes the file from docs/; program text there gets a page like any other."""
    return path.startswith(DOCS) and Path(path).suffix not in SHOWN_ON_A_PAGE


def linked(root: Path, path: str) -> list[str]:
    """The files of the repository that a Markdown file links to."""
    targets = (resolved(path, link) for link in LINK.findall((root / path).read_text()))
    return [target for target in targets if (root / target).is_file()]


def resolved(path: str, link: str) -> str:
    """The target of `link` on the page `path`, from the root: `../README.md` in docs/data.md is README.md."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), link))


def in_menu(menu: Any) -> list[str]:
    """All paths of mkdocs' `nav`, which nests lists and dictionaries."""
    if isinstance(menu, str):
        return [menu]
    return [path for entry in (menu.values() if isinstance(menu, dict) else menu or []) for path in in_menu(entry)]


def root_of(config: MkDocsConfig) -> Path:
    """The root of the repository, which has mkdocs.yml."""
    return Path(config.config_file_path).parent


def _file(source: Path, place: str, config: MkDocsConfig) -> File:
    if source.suffix not in SHOWN_ON_A_PAGE:
        return File.generated(config, place, abs_src_path=str(source), inclusion=InclusionLevel.NOT_IN_NAV)
    if source.suffix == ".ipynb":
        text = notebook_as_markdown(source)
    else:
        text = f"# {source.name}\n\n{FENCE}{LANGUAGES[source.suffix]}\n{source.read_text()}\n{FENCE}\n"
    return File.generated(config, place, content=text, inclusion=InclusionLevel.NOT_IN_NAV)
