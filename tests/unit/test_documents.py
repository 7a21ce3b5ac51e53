"""What the documents point to is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def targets(document: Path) -> list[tuple[str, str]]:
    """(file, heading) of every link to this project; either may be empty."""
    found = re.findall(r"\]\(([^)#\s]*)(?:#([^)]*))?\)", document.read_text(encoding="utf-8"))
    return [(file, heading) for file, heading in found if not re.match(r"[a-z]+:", file)]


def anchors(document: Path) -> set[str]:
    """What a forge calls a document's headings."""
    text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_there_are_links_to_check() -> None:
    assert len(DOCUMENTS) > 10
    assert sum(len(targets(document)) for document in DOCUMENTS) > 40


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(document: Path) -> None:
    links = [(document.parent / file if file else document, heading) for file, heading in targets(document)]
    assert not [path for path, _ in links if not path.exists()]
    assert not [f"{path.name}#{heading}" for path, heading in links if heading and heading not in anchors(path)]
    if document.name in ("CONTRIBUTING.md", "CHANGELOG.md"):  # files that the reader is to write; files of then
        return
    named = re.findall(r"`((?:pipeline|docs|tests|tools|benchmarks)/[\w./-]+)`", document.read_text(encoding="utf-8"))
    assert not [name for name in named if not (ROOT / name).exists()]


def test_every_folder_is_on_the_map() -> None:
    page = (ROOT / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
    table = page.partition("## Where things are")[2].partition("\n## ")[0]
    named = re.findall(r"^\| `(pipeline/[\w/]*)` \|", table, re.MULTILINE)
    folders = {f"{path.parent.relative_to(ROOT)}/" for path in (ROOT / "pipeline").rglob("*.py")}
    assert len(folders) > 15
    assert sorted(named) == sorted(folders), "each once"


def test_what_is_defended_has_a_test_that_is_there() -> None:
    page = (ROOT / "docs" / "explanation" / "security.md").read_text(encoding="utf-8")
    table = page.partition("## What is defended")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.+) \| (.+) \| (.+) \|$", table, re.MULTILINE)[1:]
    tests = [re.fullmatch(r"`(tests/[\w/]+\.py)::(test_\w+)`", test) for *_, test in rows]
    assert len(tests) > 20
    for file, test in (match.groups() for match in tests):
        assert re.search(rf"^def {test}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE), f"{file}::{test}"


def test_readme_is_read_in_a_minute_and_the_index_has_every_page() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(readme.partition("## Where to go next")[0].splitlines()) <= 95
    index = ROOT / "docs" / "index.md"
    listed = {(index.parent / file).resolve() for file, _ in targets(index)}
    pages = {
        page for folder in ("tutorial", "how-to", "explanation", "reference") for page in (ROOT / "docs" / folder).glob("*.md")
    }
    assert len(pages) > 15
    assert pages - listed == {ROOT / "docs" / "reference" / f"{name}.in.md" for name in ("options", "encoders")}
