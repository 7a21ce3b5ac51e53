"""The documentation as a site: every page is in it, and what a page links to is there."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr.strip()
    yield folder
    shutil.rmtree(folder)


def test_every_document_is_a_page(site):
    documents = [path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md") if not path.name.endswith(".in.md")]
    pages = [path.parent if path.stem in ("index", "README") else path.with_suffix("") for path in documents]
    assert len(pages) > 80
    pages += map(Path, ("readme", "contributing", "changelog"))
    assert not [page for page in pages if not (site / page / "index.html").is_file()]


def test_every_link_of_a_page_leads_somewhere(site):
    missing, followed = [], 0
    for page in site.rglob("*.html"):
        for link in re.findall(r'(?:href|src)="([^"]+)"', page.read_text(encoding="utf-8")):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or not parts.path or page.name == "404.html":
                continue
            followed += 1
            target = page.parent / unquote(parts.path)
            if not (target / "index.html" if target.is_dir() else target).is_file():
                missing.append((str(page.relative_to(site)), link))
    assert followed > 5000
    assert not missing


def test_its_order_is_that_of_the_index(site):
    page = (site / "index.html").read_text(encoding="utf-8")
    nav = page[: page.index("md-content")]
    uris = (
        "tutorial/first-study/",
        "how-to/tune/",
        "how-to/mlflow/",
        "explanation/fairness/",
        "adr/0031-the-site/",
        "reference/options/",
    )
    places = [nav.index(f'"{uri}"') for uri in uris]
    assert places == sorted(places)
