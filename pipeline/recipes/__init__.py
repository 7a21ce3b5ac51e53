"""The recipes that come with the project: one YAML file a study."""

from pathlib import Path

FOLDER = Path(__file__).parent


def list_recipes() -> list[str]:
    """Names of the recipes that come with the project."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))
