"""What the documents point to is there."""

import re
from pathlib import Path

import pytest

from pipeline.data import columns

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


def test_every_mlflow_run_says_which_environment_and_experiment() -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in DOCUMENTS}
    blocks = [(path, block) for path, text in texts.items() for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL)]
    commands = [(path, line) for path, block in blocks for line in block.splitlines() if line.startswith("mlflow run")]
    assert len(commands) > 10
    usual = ("--env-manager local", "--experiment-name fairtune")
    assert not [f"{path.name}: {line}" for path, line in commands if not all(option in line for option in usual)]


def test_a_served_model_is_asked_beside_mlflows_ui() -> None:
    pages = [path.read_text(encoding="utf-8") for path in DOCUMENTS]
    served = [command for page in pages for command in re.findall(r"mlflow models serve [^`\n]+", page)]
    assert len(served) >= 2
    assert not [command for command in served if "--port 5001" not in command]
    assert not [page for page in pages if re.search(r":5000/invocations", page)]


def test_the_columns_that_are_found_by_name_are_listed() -> None:
    page = (ROOT / "docs" / "reference" / "data.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `--(text|label)-column` \| (.+) \|$", page, re.MULTILINE))
    names = {
        "text": (*columns.TEXT_NAMES, *columns.FIRST_TEXT_NAMES),
        "label": (*columns.LABEL_NAMES, *columns.SCORE_NAMES, columns.PRODIGY_CHOICE, f"QUESTION{columns.RESPONSES}"),
    }
    assert rows.keys() == names.keys()
    assert not [name for role, row in rows.items() for name in names[role] if f"`{name}`" not in row]


def test_baselines_are_held_against_the_quick_starts_figures() -> None:
    readme, page = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/how-to/baselines.md"))
    table = readme.partition("## The quick start's table")[2].partition("<!-- /quick start -->")[0]
    heading, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("|")]
    accuracies = {row[0]: f"{float(row[heading.index('accuracy')]):.3f}" for row in rows[1:]}
    measured = page.partition("## What was measured")[2]
    quoted = dict(re.findall(r"^\| ([\w() ]+) \| (\d\.\d+) \|", measured, re.MULTILINE))
    assert "tfidf" in quoted
    assert quoted == accuracies
    lead = re.search(r"full's lead over tfidf, ([\d.]+ points \([\d.]+ to [\d.]+\))", table)
    assert lead
    assert f"leads it by {lead[1]}" in measured
    memory = next(row for row in rows if row[0] == "tfidf")[heading.index("RSS MB")]
    assert f"{memory} MB of memory" in measured
