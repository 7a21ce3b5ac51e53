"""Files and folders stay as short as docs/adr/0016 says."""

from pathlib import Path

import pipeline
from pipeline import registry

PACKAGE = Path(pipeline.__file__).parent
TESTS = Path(__file__).parents[1]
MOST_LINES, MOST_IN_A_ROW = 400, 16


def plugin_folders() -> set[Path]:
    kinds = [value for value in vars(registry).values() if isinstance(value, registry.Registry)]
    return {PACKAGE.parent.joinpath(*kind.package.split(".")) for kind in kinds}


def test_no_file_is_too_long() -> None:
    lines = {
        path: len(path.read_text(encoding="utf-8").splitlines()) for root in (PACKAGE, TESTS) for path in root.rglob("*.py")
    }
    assert len(lines) > 300
    assert {path: count for path, count in lines.items() if count > MOST_LINES} == {}


def test_no_folder_but_those_of_plugins_is_too_long() -> None:
    rows: dict[Path, int] = {}
    for path in PACKAGE.rglob("*.py"):
        if path.name != "__init__.py":
            rows[path.parent] = rows.get(path.parent, 0) + 1
    assert plugin_folders() < rows.keys()
    assert {folder: count for folder, count in rows.items() if count > MOST_IN_A_ROW and folder not in plugin_folders()} == {}
