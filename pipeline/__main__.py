"""`python -m pipeline STAGE`: options -> config -> stage. Nothing heavy is imported before a stage runs."""

import importlib
import inspect
import os
import platform
import sys
from typing import Any, NoReturn

import click

from pipeline import interruption
from pipeline.errors import PipelineError, printable, unknown
from pipeline.failures import foreseen

_STAGES = {
    "main": "The whole study of a recipe: prepare, tune if asked, train, evaluate, compare.",
    "prepare_data": "Read, clean, split, audit and fingerprint labelled text.",
    "tune": "Search hyperparameters for one strategy.",
    "train": "Fine-tune one encoder with one strategy.",
    "evaluate": "Score a trained run on its untouched test data.",
    "compare": "Build the results table from the tracking store.",
    "reproduce": "Train a run again from its record, and compare the outcome with the original.",
    "predict": "Label the texts of a file with a trained model.",
    "register": "Make the winner of a study, or a run, a registered model, and champion if it is better.",
    "export": "Write a trained model as a folder that transformers, peft or onnxruntime loads.",
}


class StageCommand(click.Command):
    """A command whose unknown options are answered with the nearest known one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse as click does, and answer the hub's longer spellings with ours."""
        from pipeline.config.options import LONGER_SPELLINGS, translate_parameters
        from pipeline.config.stage import flag

        typed = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            meant = LONGER_SPELLINGS.get(error.option_name.lstrip("-").replace("-", "_"))
            known = [name for option in self.params for name in option.opts]
            if error.option_name == "-P":
                message = (
                    f"-P is an option of `mlflow run`. Here write: python -m pipeline {self.name} {translate_parameters(typed)}"
                )
            elif meant and flag(meant) in known:
                message = f"Unknown option {error.option_name!r}. Did you mean {flag(meant)!r}?"
            else:
                message = unknown("option", error.option_name, known)
            _close_given_run(str(self.name), message)
            raise click.UsageError(printable(message), ctx) from error
        except click.UsageError as error:
            message = printable(error.format_message())
            _close_given_run(str(self.name), message)
            raise click.UsageError(message, ctx) from error

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Options below headings, the most used first."""
        from pipeline.config.options import STAGE_CONFIGS, group_options

        records = {str(option.name): record for option in self.get_params(ctx) if (record := option.get_help_record(ctx))}
        for heading, names in group_options(STAGE_CONFIGS[str(self.name)], records).items():
            with formatter.section(heading):
                formatter.write_dl([records[name] for name in names])


class StageGroup(click.Group):
    """Knows the stages by name and builds the options of one only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Stages in the order in which they are used."""
        return list(_STAGES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The stage's command; hyphens serve as underscores."""
        stage = cmd_name.replace("-", "_")
        return _command(stage) if stage in _STAGES else None

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Name the nearest stage where there is none of the name given."""
        if self.get_command(ctx, args[0]) is None:
            ctx.fail(unknown("stage", args[0], _STAGES))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List stages, strategies, heads and recipes without importing any of them."""
        from pipeline.recipes import list_recipes
        from pipeline.registry import HEADS, STRATEGIES

        with formatter.section("Stages"):
            formatter.write_dl(list(_STAGES.items()))
        with formatter.section("Strategies"):
            formatter.write_text(", ".join(STRATEGIES.names()))
        with formatter.section("Heads"):
            formatter.write_text(", ".join(HEADS.names()))
        with formatter.section("Recipes"):
            formatter.write_text(", ".join(list_recipes()))


_PRECEDENCE = (
    "What is not typed comes from the recipe, from its part for the strategy first, and only then from the defaults above: the "
    "recipe quickstart sets a learning rate per strategy, and epochs and batch size."
)


def _command(stage: str) -> click.Command:
    from pipeline.config.options import STAGE_CONFIGS, click_options

    config = STAGE_CONFIGS[stage]
    return StageCommand(
        name=stage,
        callback=lambda **given: _run(stage, {name: value for name, value in given.items() if value is not None}),
        params=[*click_options(config)],
        help=inspect.getdoc(config),
        epilog=_PRECEDENCE if "learning_rate" in config.__dataclass_fields__ else None,
        context_settings={"token_normalize_func": lambda token: token.replace("_", "-"), "max_content_width": 110},
    )


_NO_WINDOWS = (
    "Windows is not supported: fairtune needs `resource` and `preadv`, which it does not have. Install WSL (`wsl --install`), "
    "and run the same command there."
)


def _run(stage: str, given: dict[str, str]) -> None:
    if platform.system() == "Windows":
        _fail(stage, _NO_WINDOWS, 2)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # its threads and our processes do not mix
    interruption.listen()
    try:
        if stage in ("main", "tune") and given.get("dry_run", "").lower() in ("", "false"):
            _prepare_processes()
        from pipeline.config.options import STAGE_CONFIGS
        from pipeline.stages.configure import check_folders, configure
        from pipeline.tracking.runs import wait_for_store

        config = configure(STAGE_CONFIGS[stage], given)
        check_folders(config)
        wait_for_store(config.store_patience_seconds)
        run = importlib.import_module(f"pipeline.stages.{stage}").run
        run(config)
    except PipelineError as error:
        shown = foreseen(error) or error
        _fail(stage, str(shown), shown.exit_status)
    except KeyboardInterrupt as error:
        from pipeline.tracking.runs import close_opened

        close_opened(error)
        by = f" by {error}" if str(error) not in ("", "SIGINT") else ""
        _fail(
            stage, f"Interrupted{by}. Run the same command to resume from the last checkpoint.", interruption.status_of(error)
        )
    except Exception as error:
        if (failure := foreseen(error)) is None:
            raise
        _fail(stage, str(failure), failure.exit_status)


def _prepare_processes() -> None:
    """Start the process that trainings are forked from: it imports what they need while we import what the command needs."""
    from pipeline.stages.processes.workers import WorkerProcesses

    WorkerProcesses().prepare()


def _fail(stage: str, message: str, status: int) -> NoReturn:
    """Say what went wrong, on the terminal and on the run that MLflow made for us, and exit."""
    click.echo(f"Error: {message}", err=True)
    _close_given_run(stage, message, killed=status in interruption.STATUSES)
    sys.exit(status)


def _close_given_run(stage: str, message: str, killed: bool = False) -> None:
    if os.environ.get("MLFLOW_RUN_ID"):
        from pipeline.tracking.mlflow_runs import mark_failed

        mark_failed(os.environ["MLFLOW_RUN_ID"], stage, message, killed)


@click.group(cls=StageGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def cli() -> None:
    """Train, tune, evaluate and fairly compare fine-tuning strategies for BERT-style encoders.

    `python -m pipeline STAGE --help` shows a stage's options.
    """


if __name__ == "__main__":
    from pipeline.stages.processes import collector

    collector.pause()
    cli(prog_name="python -m pipeline")
