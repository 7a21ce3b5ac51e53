import gc
import re
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="package", autouse=True)
def frozen_garbage():
    """Leave what was imported out of garbage collection: a training ends with one, and most of its time would go there."""
    import peft  # noqa: F401
    import transformers.models.auto.modeling_auto  # noqa: F401

    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session")
def guide():
    """What stands in CONTRIBUTING.md under a heading, and the one block of Python in it."""
    text = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")

    def read(heading: str) -> tuple[str, str]:
        section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
        (block,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
        return section, block

    return read


@pytest.fixture
def add_module_to(tmp_path, monkeypatch):
    """Given a package, what puts a file of a name and text into it for as long as the test lasts."""
    added = []

    def add_to(package):
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])

        def add(name: str, text: str) -> None:
            (tmp_path / f"{name}.py").write_text(text)
            added.append((package, name))

        return add

    yield add_to
    for package, name in added:
        sys.modules.pop(f"{package.__name__}.{name}", None)
        vars(package).pop(name, None)
