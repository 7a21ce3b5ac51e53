"""Write MLproject (from pipeline/config.py) and conda.yaml (from pyproject.toml); `make project-files` calls it."""

import tomllib
from pathlib import Path

from pipeline.options import render_mlproject

ROOT = Path(__file__).parents[1]
PYTHON = "3.11.7"  # exact: `--env-manager virtualenv` asks pyenv for just this version


def render_conda() -> str:
    """The text of conda.yaml: the pins of pyproject.toml in a pip section of its own, so that MLflow can read them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [
        "# Rendered from pyproject.toml by `make project-files`; edit that file instead.",
        f"name: {project['name']}",
        "channels: [conda-forge]",
        "dependencies:",
        f"  - python={PYTHON}",
        "  - pip",
        "  - pip:",
        *(f"      - {pin}" for pin in project["dependencies"]),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    (ROOT / "MLproject").write_text(render_mlproject(), encoding="utf-8")
    (ROOT / "conda.yaml").write_text(render_conda(), encoding="utf-8")
