"""What pyproject.toml declares, what the code imports and what docs/reference/dependencies.md says are the same."""

import ast
import functools
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import pytest

from pipeline.code_version import how_to_install

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OF_PEERS = {"bertuner", "setfit"}
"""What is measured beside us, in an environment of its own."""
OF_DEVELOPMENT = ("dev", "fuzz")
ALWAYS, EXTRAS, DEVELOPMENT = "Always installed", "For what few need", "For who changes the code"


class Row(NamedTuple):
    package: str
    module: str
    """As it is imported; empty where no line of ours does."""
    loaded_by: str
    """The package that does; empty for what is run as a command."""


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def names(requirements: list[str]) -> set[str]:
    return {normalized(re.match(r"[\w.-]+", requirement)[0]) for requirement in requirements}


def declared() -> dict[str, set[str]]:
    extras = PROJECT["optional-dependencies"]
    few = {name for extra, pins in extras.items() if extra not in OF_DEVELOPMENT for name in names(pins)}
    development = set().union(*(names(extras[extra]) for extra in OF_DEVELOPMENT))
    return {ALWAYS: names(PROJECT["dependencies"]), EXTRAS: few, DEVELOPMENT: development}


def table() -> dict[str, list[Row]]:
    """The rows of the page, by the beginning of their heading."""
    page = (ROOT / "docs" / "reference" / "dependencies.md").read_text(encoding="utf-8")
    rows: dict[str, list[Row]] = {}
    for heading, text in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL):
        cells = re.findall(r"^\| ([\w-]+) \| (.+?) \| .*\w.* \|$", text, re.MULTILINE)[1:]
        rows[heading.partition(":")[0]] = [
            Row(package, how.strip("`") if "`" in how else "", how[3:] if how.startswith("by ") else "")
            for package, how in cells
        ]
    return rows


@functools.cache
def nodes(folder: str) -> list[tuple[str, ast.AST]]:
    """What may name a module in the code of a folder: imports and strings, with the file."""
    kinds = (ast.Import, ast.ImportFrom, ast.Constant)
    trees = {str(path.relative_to(ROOT)): ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / folder).rglob("*.py")}
    return [(file, node) for file, tree in trees.items() for node in ast.walk(tree) if isinstance(node, kinds)]


def imported(*folders: str) -> dict[str, set[str]]:
    """The modules of other projects that the code of the folders imports, and the files that do."""
    found: dict[str, set[str]] = {}
    for file, node in (pair for folder in folders for pair in nodes(folder)):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and not node.level:
            modules = [node.module]
        for module in modules:
            found.setdefault(module.partition(".")[0], set()).add(file)
    tests = ROOT / "tests"
    ours = {"pipeline", "benchmarks", *(path.stem for path in tests.rglob("*.py")), *(path.name for path in tests.iterdir())}
    return {module: files for module, files in found.items() if module not in sys.stdlib_module_names and module not in ours}


def strings(folder: str) -> set[str]:
    """What stands in quotes in the code: names of modules that are looked for and not imported, among others."""
    values = [node.value for _, node in nodes(folder) if isinstance(node, ast.Constant)]
    return {value for value in values if isinstance(value, str)}


def test_the_page_has_a_line_for_each_declared_package_and_no_other() -> None:
    rows = table()
    assert {heading: sorted(row.package for row in rows[heading]) for heading in rows} == {
        heading: sorted(packages) for heading, packages in declared().items()
    }
    assert len(rows[ALWAYS]) > 25


def test_what_the_package_imports_is_declared() -> None:
    modules = {row.module: row.package for heading in (ALWAYS, EXTRAS) for row in table()[heading]}
    found = imported("pipeline")
    assert {"torch", "mlflow"} <= found.keys()
    assert {module: where for module, where in found.items() if module not in modules} == {}, "declare it in pyproject.toml"


def test_what_tests_and_tools_import_is_declared() -> None:
    modules = {row.module for group in table().values() for row in group} | {"sentencepiece"} | OF_PEERS
    found = imported("tests", "tools", "benchmarks")
    assert "pytest" in found
    assert {module: where for module, where in found.items() if module not in modules} == {}, "declare it in pyproject.toml"


def test_what_is_declared_is_used() -> None:
    rows = table()
    named = {*imported("pipeline"), *strings("pipeline")}
    assert [
        row.package for heading in (ALWAYS, EXTRAS) for row in rows[heading] if row.module and row.module not in named
    ] == []
    tests = imported("tests", "tools", "benchmarks")
    assert [row.package for row in rows[DEVELOPMENT] if row.module and row.module not in tests] == []


def test_modules_belong_to_the_packages_of_their_lines() -> None:
    providers = metadata.packages_distributions()
    rows = [row for group in table().values() for row in group if row.module in providers]
    assert len(rows) > 25, "those that are installed here"
    assert [row for row in rows if row.package not in map(normalized, providers[row.module])] == []


@pytest.mark.parametrize("loader", ["transformers", "sqlalchemy", "mlflow"])
def test_what_is_left_to_another_package_is_what_that_one_asks_for(loader: str) -> None:
    rows = [row for heading in (ALWAYS, EXTRAS) for row in table()[heading] if row.loaded_by == loader]
    assert rows
    assert {row.package for row in rows} <= names(metadata.requires(loader) or [])


def test_pins_are_the_installed_versions() -> None:
    pins = [pin.split("==") for pin in (*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"])]
    assert [name for name, version in pins if metadata.version(name).partition("+")[0] != version] == []


def test_readme_installs_the_build_of_torch_that_is_pinned() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    pins = [pin for pin in PROJECT["dependencies"] if pin.startswith("torch==")]
    assert re.findall(r"pip install (torch==\S+)", readme) == pins


def test_what_is_missing_is_installed_by_the_extra_that_pins_it(monkeypatch: pytest.MonkeyPatch) -> None:
    extras = {extra: pins for extra, pins in PROJECT["optional-dependencies"].items() if extra not in OF_DEVELOPMENT}
    assert {"qlora", "onnx"} <= extras.keys()
    for extra, pins in extras.items():
        packages = [re.match(r"[\w.-]+", pin)[0] for pin in pins]
        for missing in (packages, packages[-1:]):
            assert how_to_install(*missing) == f"`pip install '.[{extra}]'` in the project's folder"
    assert how_to_install("bitsandbytes", "ray") == "`pip install bitsandbytes ray`", "no extra pins both"

    def requires(name: str) -> list[str]:
        raise metadata.PackageNotFoundError

    monkeypatch.setattr("pipeline.code_version.requires", requires)
    assert how_to_install("bitsandbytes") == "`pip install bitsandbytes`", "only the pins were installed, as MLflow does"
