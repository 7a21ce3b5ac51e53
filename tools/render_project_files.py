"""Write MLproject and the rendered pages of docs/reference (from pipeline/), and conda.yaml (from pyproject.toml).

`make project-files` calls it; a test holds the committed files against it.
"""

import functools
import inspect
import itertools
import re
import tomllib
import warnings
from pathlib import Path

from pipeline.code_version import how_to_install
from pipeline.config import (
    AutoConfig,
    ComparisonConfig,
    DryRunConfig,
    EncoderConfig,
    FitConfig,
    LongTextsConfig,
    MeasuringConfig,
    RankingConfig,
    ReadingConfig,
    SearchConfig,
    SplitConfig,
    StageConfig,
    TrainConfig,
    TransferConfig,
)
from pipeline.config.fields import describe_fields
from pipeline.config.options import STAGE_CONFIGS, is_typed, render_mlproject
from pipeline.config.stage import flag
from pipeline.config.train_sizes import CurveConfig, TrainSizeConfig
from pipeline.errors import ConfigError
from pipeline.modeling.encoder import EncoderSpec, describe_encoder
from pipeline.modeling.family import Family, find_family, list_model_types, list_unsupported
from pipeline.modeling.head import head_class, with_head
from pipeline.registry import STRATEGIES
from pipeline.strategies.base import (
    AnyStrategy,
    Strategy,
    StrategyContext,
    create_strategy,
    list_encoder_strategies,
    list_strategies,
    strategy_class,
)
from pipeline.strategies.baseline import Baseline
from pipeline.strategies.parameter_plan import ParameterPlan, parameter_names, plan_parameters

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs" / "reference"
# Classes that several stages derive from, and the heading of what they declare.
SHARED: dict[type[StageConfig], str] = {
    StageConfig: "Every stage",
    EncoderConfig: "Data and model",
    ReadingConfig: "Reading files",
    SplitConfig: "Labels and splits",
    LongTextsConfig: "Long texts",
    TrainSizeConfig: "Number of labels",
    CurveConfig: "Learning curves",
    FitConfig: "Training",
    AutoConfig: "Auto",
    TrainConfig: "One strategy",
    SearchConfig: "Search",
    TransferConfig: "Second data set",
    MeasuringConfig: "What answers cost",
    RankingConfig: "Ranking",
    ComparisonConfig: "Comparison",
    DryRunConfig: "Dry runs",
}
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


def render_options() -> str:
    """The text of docs/reference/options.md: the hand-written part, every option once, and a table of the strategies."""
    text = (REFERENCE / "options.in.md").read_text(encoding="utf-8")
    strategies = ["| strategy | what it does | arguments |", "|---|---|---|"]
    for name in list_strategies():
        cls = strategy_class(name)
        arguments = "<br>".join(
            f"`{field.name}` ({field.default_text or 'none'}): {field.help}" for field in describe_fields(cls).values()
        )
        strategies.append(f"| `{name}` | {cls.summary()} | {arguments} |")
    tables = {"stages": _stage_sections(), "shared": _shared_sections(), "strategies": strategies}
    for name, lines in tables.items():
        text = text.replace(f"{{{{{name}}}}}", "\n".join(lines).rstrip())
    return text


def _shared_sections() -> list[str]:
    """What several stages take, with their names."""
    lines = []
    for cls, heading in SHARED.items():
        stages = ", ".join(f"[`{stage}`](#{stage})" for stage, config in STAGE_CONFIGS.items() if issubclass(config, cls))
        lines += [f"### {heading}", "", f"Of {stages}.", "", *_option_rows(cls), ""]
    return lines


def _stage_sections() -> list[str]:
    """What each stage takes besides, and where the rest stands."""
    lines = []
    for stage, cls in STAGE_CONFIGS.items():
        headings = [heading for shared, heading in SHARED.items() if issubclass(cls, shared)]
        headings += [other for other, config in STAGE_CONFIGS.items() if config is not cls and issubclass(cls, config)]
        links = ", ".join(f"[{heading}](#{heading.lower().replace(' ', '-')})" for heading in headings)
        lines += [f"### {stage}", "", inspect.getdoc(cls) or "", "", f"Also takes: {links}.", "", *_option_rows(cls), ""]
    return lines


def _option_rows(cls: type[StageConfig]) -> list[str]:
    """A table of the options that the class itself declares, or declares with another default or meaning."""

    def as_shown(config: type[StageConfig]) -> dict[str, tuple[str, str]]:
        return {field.name: (field.default_text, field.help) for field in describe_fields(config).values()}

    bases = [as_shown(base) for base in cls.__mro__[1:] if issubclass(base, StageConfig)]
    rows = [
        f"| `{flag(name)}` | {f'`{default}`' if default else ''} | {text} |"
        for name, (default, text) in as_shown(cls).items()
        if is_typed(name) and not any(base.get(name) == (default, text) for base in bases)
    ]
    return ["| option | default | meaning |", "|---|---|---|", *rows] if rows else ["No option of its own."]


def render_strategy(name: str) -> str:
    """The text of a strategy's page: what trains and what it costs on bert-base, its arguments, where it works, a command."""
    strategy = create_strategy(name, {})
    text = [
        f"<!-- Rendered from {STRATEGIES.module_name(name).replace('.', '/')}.py by `make project-files`. -->",
        f"# {name}",
        "",
        _link_papers(inspect.getdoc(type(strategy)) or ""),
        "",
        *([] if isinstance(strategy, Baseline) else _what_trains(name)),
        "## Arguments",
        "",
        *_argument_rows(type(strategy)),
        "",
        "## Encoders",
        "",
        *(["None is trained, and none is needed."] if isinstance(strategy, Baseline) else _refusals(strategy)),
        "",
        "## Run it",
        "",
        *(
            [f"It needs a package that is not installed with the project: {how_to_install(*strategy.packages)}.", ""]
            if strategy.packages
            else []
        ),
        "```bash",
        _command(strategy),
        "```",
    ]
    return "\n".join(text) + "\n"


def _what_trains(name: str) -> list[str]:
    plan = _plan_on_bert_base(name)
    saved_mb = sum(parameter.size for parameter in plan.saved) * 4 / 2**20
    return [
        "## What trains",
        "",
        "On bert-base-uncased with two classes and the default arguments:",
        "",
        "| from epoch | part | share of the learning rate | parameters |",
        "|---|---|---|---|",
        *_phase_rows(plan),
        "",
        f"In all {plan.trainable_count:,} of {plan.total_count:,} parameters, {_percent(plan)} %. "
        f"The saved model takes {saved_mb:.2f} MB beside its base.",
        "",
    ]


def render_strategies() -> str:
    """The text of docs/reference/strategies/README.md: the hand-written part with a table of all strategies."""
    text = (REFERENCE / "strategies" / "README.in.md").read_text(encoding="utf-8")
    rows = ["| strategy | what it does | bert-base: parameters | % |", "|---|---|---|---|"]
    plans = {name: _plan_on_bert_base(name) for name in list_encoder_strategies()}
    counts = {
        name: f"{plan.trainable_count:,} | {_percent(plan)}"
        for name, plan in sorted(plans.items(), key=lambda item: (-item[1].trainable_count, item[0]))
    }
    counts |= {name: "no encoder | " for name in list_strategies() if name not in plans}
    for name, count in counts.items():
        summary = re.sub(r" \([^()]*arXiv:[^()]*\)", "", strategy_class(name).summary())
        rows.append(f"| [{name}]({name}.md) | {summary} | {count} |")
    return text.replace("{{strategies}}", "\n".join(rows))


def _encoder(model_type: str, name: str, strategy: Strategy) -> EncoderSpec:
    """With the head that the strategy has unless another one is given."""
    from transformers import CONFIG_MAPPING

    return with_head(describe_encoder(CONFIG_MAPPING[model_type]().to_dict(), name), _head_of(strategy))


def _head_of(strategy: Strategy) -> str:
    return str(strategy.options.get("head", TrainConfig().head))


def _context(strategy: Strategy, encoder: EncoderSpec) -> StrategyContext:
    """With the default epochs, or as many more as the strategy asks for."""
    defaults = TrainConfig()
    for epochs in range(defaults.epochs, 2 * defaults.epochs + 1):
        context = StrategyContext(encoder, epochs, total_steps=10 * epochs, dropout=defaults.dropout)
        try:
            strategy.checked_phases(context)
        except ConfigError:
            continue
        return context
    strategy.checked_phases(context)
    return context


@functools.cache
def _plan_on_bert_base(name: str) -> ParameterPlan:
    """What a strategy trains on bert-base; on the meta device, so nothing is loaded."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    strategy = create_strategy(name, {})
    context = _context(strategy, _encoder("bert", "bert-base-uncased", strategy))
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = BertConfig(num_labels=2)
        model = BertForSequenceClassification(config)
        own = describe_encoder(config.to_dict(), "bert-base-uncased")
        head_class(_head_of(strategy)).put_on(
            model, own, config.num_labels, config.hidden_dropout_prob, seed=0, newly_initialised=()
        )
        own_names = parameter_names(model)
        model = strategy.adapt(model, context)
    return plan_parameters(model, context.encoder, strategy.checked_phases(context), own_names)


def _percent(plan: ParameterPlan) -> str:
    return f"{plan.trainable_percent:.4g}"


def _phase_rows(plan: ParameterPlan) -> list[str]:
    rows = []
    for phase, start in enumerate(plan.start_epochs):
        sizes: dict[tuple[str, float], int] = {}
        for parameter in plan.trainable:
            location, factor = parameter.location, parameter.lr_multipliers[phase]
            part = f"layer {location.layer}" if location.part == "layer" else location.part
            if factor > 0:
                sizes[part, factor] = sizes.get((part, factor), 0) + parameter.size
        kinds = itertools.groupby(sizes.items(), key=lambda item: (item[0][0].split()[0], item[0][1]))
        for (kind, factor), group in kinds:
            members = list(group)
            numbers = [part.split()[1] for (part, _), _ in members if kind == "layer"]
            what = {"head": "classifier", "added": "parameters that the strategy adds"}.get(kind, kind)
            if numbers:
                what = f"layers {numbers[0]} to {numbers[-1]}" if len(numbers) > 1 else f"layer {numbers[0]}"
            rows.append(f"| {start + 1} | {what} | {factor:.3g} | {sum(size for _, size in members):,} |")
    return rows


def _argument_rows(cls: type[AnyStrategy]) -> list[str]:
    fields = describe_fields(cls).values()
    if not fields:
        return ["None."]
    rows = [f"| `{f.name}` | {f'`{f.default_text}`' if f.default_text else ''} | {f.help} |" for f in fields]
    return ["| argument | default | meaning |", "|---|---|---|", *rows]


def render_encoders() -> str:
    """The text of docs/reference/encoders.md: the hand-written part with a table of the families."""
    text = (REFERENCE / "encoders.in.md").read_text(encoding="utf-8")
    rows = ["| `model_type` | such as | strategies | trains | longest input |", "|---|---|---|---|---|"]
    strategies, trains = list_encoder_strategies(), 0
    for model_type in list_model_types():
        family = find_family(model_type)
        if family is None or model_type != family.model_types[0]:
            continue
        refused = [name for name in strategies if not _works_on(create_strategy(name, {}), model_type)]
        trains += len(family.model_types) * (len(strategies) - len(refused))
        rows.append(
            f"| {', '.join(f'`{name}`' for name in family.model_types)} | {', '.join(family.examples)} "
            f"| {'all but ' + ', '.join(refused) if refused else 'all'} "
            f"| {len(strategies) - len(refused)} of {len(strategies)} | {_longest_input(family)} |"
        )
    types = len(list_model_types())
    rows += [
        "",
        f"{types} model types with {len(strategies)} strategies make {types * len(strategies)} pairs: {trains} train, "
        f"{types * len(strategies) - trains} are refused.",
    ]
    reasons: dict[str, list[str]] = {}
    for name, reason in list_unsupported().items():
        reasons.setdefault(reason, []).append(f"`{name}`")
    unsupported = [f"- {', '.join(names)}: {reason}" for reason, names in reasons.items()]
    return text.replace("{{families}}", "\n".join(rows)).replace("{{unsupported}}", "\n".join(unsupported))


def _longest_input(family: Family) -> str:
    if type(family).max_positions is not Family.max_positions:
        return (inspect.getdoc(type(family).max_positions) or "").rstrip(".")
    return f"`max_position_embeddings{' - pad_token_id - 1' if family.counts_positions_from_padding else ''}`"


def _works_on(strategy: Strategy, model_type: str) -> bool:
    try:
        _context(strategy, _encoder(model_type, model_type, strategy))
    except ConfigError:
        return False
    return True


def _refusals(strategy: Strategy) -> list[str]:
    """Which families the strategy refuses, in its own words."""
    found, refused = [], []
    for model_type in list_model_types():
        try:
            _context(strategy, _encoder(model_type, model_type, strategy))
            found.append(model_type)
        except ConfigError as error:
            refused.append(f"- {error}")
    return [f"Works on {', '.join(found)}.", *(["", "Refused by name:", "", *refused] if refused else [])]


def _command(strategy: AnyStrategy) -> str:
    """A command with the strategy's first arguments as they are by default."""
    fields = [field for field in describe_fields(type(strategy)).values() if field.default_text]
    values = [
        f"{field.name}=[{field.default_text}]" if isinstance(field.default, tuple) else f"{field.name}={field.default_text}"
        for field in fields
    ]
    arguments = ",".join(values[:3])
    if "[" in arguments:
        arguments = f'"{arguments}"'  # a shell may take brackets for a pattern of file names
    epochs = 0 if isinstance(strategy, Baseline) else _context(strategy, _encoder("bert", "bert-base-uncased", strategy)).epochs
    return (
        f"python -m pipeline train --strategy {strategy.name}"
        + (f" --strategy-args {arguments}" if values else "")
        + (f" --epochs {epochs}" if epochs > TrainConfig().epochs else "")
    )


def _link_papers(text: str) -> str:
    return re.sub(r"arXiv:(\d{4}\.\d{5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", text)


RENDERED = {
    "MLproject": render_mlproject,
    "conda.yaml": render_conda,
    "docs/reference/options.md": render_options,
    "docs/reference/encoders.md": render_encoders,
    "docs/reference/strategies/README.md": render_strategies,
    **{f"docs/reference/strategies/{name}.md": functools.partial(render_strategy, name) for name in list_strategies()},
}

if __name__ == "__main__":
    for name, render in RENDERED.items():
        (ROOT / name).write_text(render(), encoding="utf-8")
