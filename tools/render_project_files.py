"""Write MLproject and docs/reference.md (from pipeline/config.py) and conda.yaml (from pyproject.toml).

`make project-files` calls it; a test holds the committed files against it.
"""

import inspect
import tomllib
from pathlib import Path

from pipeline.fields import describe_fields
from pipeline.options import STAGE_CONFIGS, flag, is_typed, render_mlproject
from pipeline.strategies.registry import list_strategies, strategy_class

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


def render_reference() -> str:
    """The text of docs/reference.md: the hand-written part, then a table per stage and one of the strategies."""
    text = (ROOT / "docs" / "reference.in.md").read_text(encoding="utf-8")
    tables = []
    for stage, cls in STAGE_CONFIGS.items():
        tables += [f"### {stage}", "", inspect.getdoc(cls) or "", "", "| option | default | meaning |", "|---|---|---|"]
        tables += [
            f"| `{flag(field.name)}` | {f'`{field.default_text}`' if field.default_text else ''} | {field.help} |"
            for field in describe_fields(cls).values()
            if is_typed(field.name)
        ]
        tables.append("")
    strategies = ["| strategy | what it does | arguments |", "|---|---|---|"]
    for name in list_strategies():
        cls = strategy_class(name)
        arguments = "<br>".join(
            f"`{field.name}` ({field.default_text or 'none'}): {field.help}" for field in describe_fields(cls).values()
        )
        strategies.append(f"| `{name}` | {cls.summary()} | {arguments} |")
    return text.replace("{{options}}", "\n".join(tables).rstrip()).replace("{{strategies}}", "\n".join(strategies))


RENDERED = {"MLproject": render_mlproject, "conda.yaml": render_conda, "docs/reference.md": render_reference}

if __name__ == "__main__":
    for name, render in RENDERED.items():
        (ROOT / name).write_text(render(), encoding="utf-8")
