"""What the documentation site has besides `docs/`, and in which order. A hook of MkDocs, see `mkdocs.yml`.

`docs/` is written for readers of the repository: its pages link to README and CONTRIBUTING, and to folders. Here the former
become pages, and folders their indexes. The order is that of the links in `docs/index.md`.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

_ROOT = Path(__file__).parents[1]
_BESIDE = {"README.md": "readme.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""Documents in the root of the repository -> where the site has them."""
_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?![a-z]+:)([^)#\s]*)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the documents of the root and the index of decisions; put pages in order."""
    for name, uri in _BESIDE.items():
        files.append(File.generated(config, uri, content=(_ROOT / name).read_text(encoding="utf-8")))
    files.append(File.generated(config, "adr/index.md", content=_list_decisions()))
    config.nav = _order([file.src_uri for file in files.documentation_pages()])
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 (MkDocs names it)
    """Lead links of the repository to pages of the site; what is code there is named and not linked."""
    inverse = {uri: name for name, uri in _BESIDE.items()}
    here = page.file.src_uri
    folder = posixpath.dirname(inverse.get(here) or f"docs/{here}")

    def lead(match: re.Match[str]) -> str:
        picture, text, target, heading = match[1], match[2], match[3], match[4] or ""
        if not target:
            return match[0]
        path = posixpath.normpath(posixpath.join(folder, target))
        uri = _BESIDE.get(path) or (posixpath.relpath(path, "docs") if path.startswith("docs/") else "")
        for known in (uri, f"{uri}/index.md", f"{uri}/README.md"):
            if uri and files.get_file_from_path(known):
                return f"{picture}[{text}]({posixpath.relpath(known, posixpath.dirname(here) or '.')}{heading})"
        if uri or not (_ROOT / path).exists():
            return match[0]  # MkDocs warns of what is not there
        return text

    parts = re.split(r"(^```.*?^```$)", markdown, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if part.startswith("```") else _LINK.sub(lead, part) for part in parts)


def _list_decisions() -> str:
    files = sorted((_ROOT / "docs" / "adr").glob("*.md"))
    titles = {file.name: file.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ") for file in files}
    return "# Decisions\n\nWhy it was decided so.\n\n" + "".join(f"- [{title}]({name})\n" for name, title in titles.items())


def _order(uris: list[str]) -> list[object]:
    """Sections of `docs/index.md` with the pages that each links to, a page once; then what no section has."""
    left = dict.fromkeys(uris)

    def take(*names: str) -> list[str]:
        taken = [name for name in dict.fromkeys(names) if name in left]
        for name in taken:
            del left[name]
        return taken

    nav: list[object] = take("index.md", "readme.md")
    text = (_ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    for heading, body in re.findall(r"^## ([^:\n]+).*?\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL):
        pages: list[object] = []
        for title, link in re.findall(r"\[([^\]]+)\]\(([^)]+)\)", body):
            if link.endswith(("/", "/README.md")):
                folder = posixpath.dirname(link)
                within = sorted(uri for uri in left if posixpath.dirname(uri) == folder)
                pages.append({title.capitalize(): take(f"{folder}/index.md", f"{folder}/README.md", *within)})
            else:
                pages += take(_BESIDE.get(posixpath.basename(link), link))
        nav.append({heading: pages})
    return nav + list(left)
