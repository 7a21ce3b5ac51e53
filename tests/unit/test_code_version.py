"""What is computed again after an edit: files of each kind are edited in a copy of the package, and nothing is trained."""

import ast
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import pipeline
from pipeline import code_version as module
from pipeline.code_version import FOLDERS, PLUGINS, TESTING, code_version
from pipeline.config import TrainConfig
from pipeline.evaluation.task import ClassificationTask
from pipeline.modeling.family import find_family
from pipeline.stages.testing.test import scoring_version
from pipeline.strategies.base import create_strategy
from pipeline.training.setup import EncoderInputs

PACKAGE = Path(pipeline.__file__).parent
NOT_DECIDING = {"comparison", "config", "recipes", "stages", "tracking", "tuning"}
"""Rooms whose code says what is asked for, carries it out, or looks at what came of it."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the package that is hashed in its place; a test that edits it puts back what it was."""
    copy = tmp_path_factory.mktemp("copy") / "pipeline"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy.parent / "README.md").write_text("# Fine-tuning\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "ROOT", copy)
        yield copy
    module._read.cache_clear()


def versions() -> tuple[str, str]:
    """Of a training of dora with the head attention on a BERT, and of its test, as a new process sees them."""
    unused: Any = None
    config = TrainConfig(strategy="dora", head="attention")
    family = type(find_family("bert")).__module__
    objective: Any = SimpleNamespace(task=ClassificationTask(("a", "b")))
    strategy: Any = create_strategy("dora", {})
    inputs = EncoderInputs(
        config=config, address=unused, strategy=strategy, prepared=unused, objective=objective, family=family
    )
    trained: Any = SimpleNamespace(tags={"strategy": "dora"}, params={"objective": "classification", "head": "attention"})
    module._read.cache_clear()
    return inputs.code_version, scoring_version(trained)


@pytest.fixture(scope="module")
def before(root: Path) -> tuple[str, str]:
    return versions()


@pytest.fixture
def edited(root: Path) -> Iterator[Callable[[str, str | None], None]]:
    """Gives a file of the copy another content, or takes it away."""
    old: dict[Path, str | None] = {}

    def edited(name: str, content: str | None) -> None:
        path = root / name
        old[path] = path.read_text() if path.is_file() else None
        write(path, content)

    def write(path: Path, content: str | None) -> None:
        if content is None:
            path.unlink()
        else:
            path.write_text(content)

    yield edited
    for path, content in old.items():
        write(path, content)


TRAINED_AGAIN, TESTED_AGAIN, REUSED = (True, True), (False, True), (False, False)
KINDS = {
    "the strategy used": ("strategies/methods/dora.py", TRAINED_AGAIN),
    "the strategy that it is made of": ("strategies/methods/lora.py", TRAINED_AGAIN),
    "another strategy": ("strategies/methods/ia3.py", REUSED),
    "a new strategy": ("strategies/methods/new.py", REUSED),
    "what strategies share": ("strategies/base.py", TRAINED_AGAIN),
    "which parameters train": ("strategies/parameter_plan.py", TRAINED_AGAIN),
    "the head used": ("modeling/heads/attention.py", TRAINED_AGAIN),
    "another head": ("modeling/heads/mlp.py", REUSED),
    "what heads share": ("modeling/head.py", TRAINED_AGAIN),
    "the family used": ("modeling/families/bert.py", TRAINED_AGAIN),
    "another family, for a run does not say its own": ("modeling/families/albert.py", TESTED_AGAIN),
    "what families share": ("modeling/family.py", TRAINED_AGAIN),
    "the objective used": ("objectives/kinds/classification.py", TRAINED_AGAIN),
    "another objective": ("objectives/kinds/bi_encoder.py", REUSED),
    "the loss used, of which a test knows nothing": ("objectives/losses/cross_entropy.py", (True, False)),
    "another loss": ("objectives/losses/mean_squared_error.py", REUSED),
    "what losses share": ("objectives/loss.py", TRAINED_AGAIN),
    "loading": ("modeling/loading.py", TRAINED_AGAIN),
    "the training loop": ("training/loop.py", TRAINED_AGAIN),
    "the training setup": ("training/setup.py", TRAINED_AGAIN),
    "acceleration": ("training/acceleration/patches/quick_dropout.py", TRAINED_AGAIN),
    "heads trained together": ("training/vmapped_heads.py", TRAINED_AGAIN),
    "a new module of training": ("training/new.py", TRAINED_AGAIN),
    "reading a model back": ("training/saved_model.py", TRAINED_AGAIN),
    "data cleaning": ("data/cleaning.py", TRAINED_AGAIN),
    "tokenization": ("data/tokenization.py", TRAINED_AGAIN),
    "a data source, whose data have a fingerprint": ("data/sources/packaged.py", REUSED),
    "a metric": ("evaluation/metrics/macro.py", TRAINED_AGAIN),
    "a new metric, which older runs lack": ("evaluation/metrics/new.py", TRAINED_AGAIN),
    "what metrics share": ("evaluation/metric.py", TRAINED_AGAIN),
    "what outputs mean": ("evaluation/task.py", TRAINED_AGAIN),
    "the test": ("evaluation/testing/scoring.py", TESTED_AGAIN),
    "calibration": ("evaluation/testing/calibration.py", TESTED_AGAIN),
    "tables of predictions": ("evaluation/testing/predictions.py", TESTED_AGAIN),
    "statistics": ("evaluation/statistics/bootstrap.py", REUSED),
    "statistics of a comparison": ("comparison/statistics.py", REUSED),
    "plots of a test": ("evaluation/plots.py", REUSED),
    "plots of data": ("data/plots.py", REUSED),
    "plots of a comparison": ("comparison/plots.py", REUSED),
    "tracking": ("tracking/mlflow_runs.py", REUSED),
    "a stage": ("stages/train.py", REUSED),
    "what a stage records of a test": ("stages/testing/test.py", REUSED),
    "options": ("config/__init__.py", REUSED),
    "a recipe": ("recipes/quickstart.yaml", REUSED),
    "documentation": ("../README.md", REUSED),
}


@pytest.mark.parametrize(("name", "again"), KINDS.values(), ids=KINDS)
def test_an_edit_makes_again_what_it_decides(
    root: Path, before: tuple[str, str], edited: Callable[[str, str | None], None], name: str, again: tuple[bool, bool]
) -> None:
    is_new = Path(name).name == "new.py"
    assert (root / name).is_file() != is_new
    edited(name, "# edited\n" + ("" if is_new else (root / name).read_text()))
    after = versions()
    assert tuple(one != other for one, other in zip(before, after, strict=True)) == again


def test_a_file_counts_as_it_was_when_the_process_first_asked(
    before: tuple[str, str], edited: Callable[[str, str | None], None]
) -> None:
    first = versions() and code_version([])
    edited("training/loop.py", "")
    assert code_version([]) == first
    module._read.cache_clear()
    assert code_version([]) != first


def test_a_module_that_is_taken_away_counts(before: tuple[str, str], edited: Callable[[str, str | None], None]) -> None:
    edited("training/vmapped_heads.py", None)
    assert versions() != before


def test_plugins_that_are_not_there_are_told_apart() -> None:
    names = [f"pipeline.strategies.methods.{name}" for name in ("lora", "gone", "external")]
    assert len({code_version([name]) for name in names}) == len(names)


def test_every_room_of_the_package_either_decides_or_does_not() -> None:
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert rooms == {*FOLDERS, *NOT_DECIDING}
    for folder in (*PLUGINS, TESTING, *module._AFTERWARDS):
        assert folder.split("/")[0] in FOLDERS
        assert (PACKAGE / folder / "__init__.py").is_file(), folder


@pytest.mark.parametrize("folder", PLUGINS)
def test_plugins_beside_a_plugin_are_found_however_they_are_imported(folder: str) -> None:
    package = "pipeline." + folder.replace("/", ".")
    files = [path for path in (PACKAGE / folder).glob("*.py") if path.stem not in ("base", "__init__")]
    assert files
    for path in files:
        imported = set[str]()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                imported |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
            elif isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
        beside = {other for other in files if f"{package}.{other.stem}" in imported}
        found = module._read(PACKAGE)[path.relative_to(PACKAGE).as_posix()][1]
        assert {other.relative_to(PACKAGE).as_posix() for other in beside} <= found, path.name


def test_versions_of_libraries_count(monkeypatch: pytest.MonkeyPatch) -> None:
    assert code_version([]) != code_version([], ["no-such-package"]), "one that is not installed is another one than none"
    for library in ("torch", "transformers", "peft", "accelerate", "tokenizers"):
        with monkeypatch.context() as patch:
            patch.setattr(module, "installed_version", lambda name, old=library: "0" if name == old else "1")
            first = code_version([])
            patch.setattr(module, "installed_version", lambda name: "1")
            assert code_version([]) != first, library
