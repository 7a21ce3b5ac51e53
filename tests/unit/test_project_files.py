"""MLproject, conda.yaml, the reference and the strategies' pages are what they would be rendered as."""

import importlib.util
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from pipeline.strategies.base import list_strategies

ROOT = Path(__file__).parents[2]


def load_renderer():
    spec = importlib.util.spec_from_file_location("render_project_files", ROOT / "tools" / "render_project_files.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


RENDERED = load_renderer().RENDERED


@pytest.mark.parametrize("name", sorted(RENDERED))
def test_rendered_file_is_current(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == RENDERED[name](), "run `make project-files`"


def test_every_strategy_has_a_page_with_its_paper_and_no_other_has() -> None:
    assert set(RENDERED) >= {"MLproject", "conda.yaml", "docs/reference/options.md", "docs/reference/strategies/README.md"}
    names = list_strategies()
    pages = {path.stem: path.read_text() for path in (ROOT / "docs" / "reference" / "strategies").glob("*.md")}
    assert set(pages) - {"README", "README.in"} == set(names)
    assert {"full", "lora"} <= set(names)
    for name in names:
        assert f"]({name}.md)" in pages["README"]
        assert "https://arxiv.org/abs/" in pages[name], f"{name} names no paper"


def test_reference_says_each_option_once_and_leads_from_every_stage_to_all_of_its_own() -> None:
    from pipeline.config.fields import describe_fields
    from pipeline.config.options import STAGE_CONFIGS, is_typed
    from pipeline.config.stage import flag

    page = RENDERED["docs/reference/options.md"]()
    sections = dict(re.findall(r"^### (.+?)\n(.*?)(?=^##|\Z)", page, re.MULTILINE | re.DOTALL))
    options = {
        heading.lower().replace(" ", "-"): re.findall(r"^\| `(--[\w-]+)`", text, re.MULTILINE)
        for heading, text in sections.items()
    }
    assert options["training"].count("--learning-rate") == page.count("| `--learning-rate` |") == 1
    for stage, config in STAGE_CONFIGS.items():
        linked = re.findall(r"\]\(#([\w-]+)\)", sections[stage])
        assert linked
        shown = [*options[stage], *(name for heading in linked for name in options[heading])]
        assert set(shown) == {flag(name) for name in describe_fields(config) if is_typed(name)}, stage


def test_conda_environment_is_valid() -> None:
    content = yaml.safe_load((ROOT / "conda.yaml").read_text())
    python, pip, section = content["dependencies"]
    assert python.startswith("python=3.11.")
    assert pip == "pip"
    pins = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert section == {"pip": pins}
    assert len(pins) > 10
    assert all("==" in pin for pin in pins)


def test_mlproject_is_one_that_mlflow_reads() -> None:
    from mlflow.projects._project_spec import load_project

    project = load_project(str(ROOT))
    assert project.name == "fairtune"
    for stage in ("main", "prepare_data", "tune", "train", "evaluate", "compare"):
        assert project.get_entry_point(stage).command.startswith(f"python -m pipeline {stage}")


def test_make_takes_any_python3_where_there_is_no_python3_11(tmp_path: Path) -> None:
    make = shutil.which("make")
    if make is None:
        pytest.skip("needs make")

    def python() -> str:
        command = [make, "--silent", "--file", str(ROOT / "Makefile"), "--eval", "python: ; $(info $(PYTHON))", "python"]
        environment = {name: value for name, value in os.environ.items() if name != "PYTHON"}
        done = subprocess.run(command, env={**environment, "PATH": str(tmp_path)}, capture_output=True, text=True, check=True)
        return Path(done.stdout.strip()).name

    for name in ("python3", "python3.11"):  # from now on both are there
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
        assert python() == name
