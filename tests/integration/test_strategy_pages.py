"""The command on every strategy's page runs as it stands there, on a tiny model and few examples."""

import importlib.util
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.__main__ import cli
from pipeline.strategies.base import list_strategies

PAGES = Path(__file__).parents[2] / "docs" / "reference" / "strategies"


def command_of(page: str) -> list[str]:
    (block,) = re.findall(r"```bash\n(.*?)```", (PAGES / f"{page}.md").read_text(), re.DOTALL)
    words = shlex.split(block)
    assert words[:3] == ["python", "-m", "pipeline"]
    return words[3:]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("page", [*list_strategies(), "README"])
def test_the_command_runs(workspace, page):
    words = command_of(page)
    assert words[words.index("--strategy") + 1] == (page if page != "README" else "auto")
    options = {**workspace.options_of_data(), "max_train_samples": "16", "batch_size": "8", "precision": "fp32", "seed": "3"}
    added = [f"--{name}={value}" for name, value in options.items() if f"--{name.replace('_', '-')}" not in words]
    result = CliRunner().invoke(cli, [*words, *added])
    if page == "qlora" and importlib.util.find_spec("bitsandbytes") is None:
        assert result.exit_code == 2
        assert "qlora needs the package bitsandbytes" in result.output
    else:
        assert result.exit_code == 0, result.output
