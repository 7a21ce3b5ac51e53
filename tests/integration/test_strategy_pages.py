"""The command on every strategy's page runs as it stands there, on a tiny model and few examples.

`make test` runs a few of them and reads the options of all.
"""

import importlib.util
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.__main__ import cli
from pipeline.config import TrainConfig
from pipeline.config.identity import encoder_options
from pipeline.config.options import STAGE_CONFIGS
from pipeline.stages.configure import configure
from pipeline.strategies.base import list_strategies
from pipeline.strategies.baseline import is_baseline

QUICK = ("README", "full", "gradual", "linear_probe", "lora", "prefix", "tfidf")
PAGES = Path(__file__).parents[2] / "docs" / "reference" / "strategies"


def command_of(page: str) -> list[str]:
    (block,) = re.findall(r"```bash\n(.*?)```", (PAGES / f"{page}.md").read_text(), re.DOTALL)
    words = shlex.split(block)
    assert words[:3] == ["python", "-m", "pipeline"]
    return words[3:]


def test_the_options_on_every_page_are_known():
    for name in list_strategies():
        stage, *words = command_of(name)
        given = cli.get_command(None, stage).make_context(stage, words).params
        config = configure(STAGE_CONFIGS[stage], {option: value for option, value in given.items() if value is not None})
        assert config.strategy == name


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=() if page in QUICK else pytest.mark.slow) for page in [*list_strategies(), "README"]],
)
def test_the_command_runs(workspace, page):
    words = command_of(page)
    assert words[words.index("--strategy") + 1] == (page if page != "README" else "auto")
    options = {**workspace.options_of_data(), "max_train_samples": "16", "batch_size": "8", "precision": "fp32", "seed": "3"}
    if is_baseline(page):  # which refuses options of an encoder
        options = {name: value for name, value in options.items() if name not in encoder_options(TrainConfig)}
    added = [f"--{name}={value}" for name, value in options.items() if f"--{name.replace('_', '-')}" not in words]
    result = CliRunner().invoke(cli, [*words, *added])
    if page == "qlora" and importlib.util.find_spec("bitsandbytes") is None:
        assert result.exit_code == 2
        assert "qlora needs the package bitsandbytes" in result.output
    else:
        assert result.exit_code == 0, result.output
