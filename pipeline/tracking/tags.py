"""Names of the tags that we write, and what they were called in older stores.

By contract `stage`, `strategy`, `recipe`, `data_fingerprint`, `config_hash`, `git_commit`, `status_detail` and `resumes` have
plain names; all others stand below `fairtune.`. docs/reference/runs.md explains them.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from enum import StrEnum

from pipeline.json_text import parse_json

PREFIX = "fairtune."
BUDGET = f"{PREFIX}budget/"
"""Before the unit of what a search spent."""
CHECKSUM = f"{PREFIX}sha256/"
"""Before the path of a text artifact. A tag each: several stages write texts to one run, and none reads the others' first."""
TEXT_LIMIT = 4000
"""Characters of a tag that every backend takes."""
DESCRIPTION = "mlflow.note.content"
"""What the MLflow UI shows as the description of a run or an experiment, read as Markdown."""


class Tag(StrEnum):
    """The tags below `fairtune.` whose names are fixed."""

    STRATEGY_ARGS = f"{PREFIX}strategy_args"
    STRATEGY_REASON = f"{PREFIX}strategy_reason"
    ENTRY = f"{PREFIX}entry"
    SETTINGS_HASH = f"{PREFIX}settings_hash"
    BASE_SHA256 = f"{PREFIX}base_sha256"
    CODE_VERSION = f"{PREFIX}code_version"
    TEST_CODE_VERSION = f"{PREFIX}test_code_version"
    INFERRED_FAMILY = f"{PREFIX}inferred_family"
    HARDWARE = f"{PREFIX}hardware"
    NUM_PROCESSES = f"{PREFIX}num_processes"
    WORKERS = f"{PREFIX}workers"
    PREDICT_SETTING = f"{PREFIX}predict_setting"
    FROZEN_PREFIX_CACHE = f"{PREFIX}frozen_prefix_cache"
    TRANSFER_DATASET = f"{PREFIX}transfer_dataset"
    TRANSFER_FINGERPRINT = f"{PREFIX}transfer_fingerprint"
    TRANSFER_LABELS = f"{PREFIX}transfer_labels"
    TRANSFER_TEXT_COLUMN = f"{PREFIX}transfer_text_column"
    TRANSFER_LABEL_COLUMN = f"{PREFIX}transfer_label_column"
    TRANSFER_CODE_VERSION = f"{PREFIX}transfer_code_version"
    EVALUATES = f"{PREFIX}evaluates"
    REPRODUCES = f"{PREFIX}reproduces"
    REPRODUCTION = f"{PREFIX}reproduction"
    TUNED_BY = f"{PREFIX}tuned_by"
    TUNED_TRIALS = f"{PREFIX}tuned_trials"
    TUNING_BUDGET = f"{PREFIX}tuning_budget"
    BUDGET_TRIALS = f"{BUDGET}trials"
    BUDGET_TRAIN_SECONDS = f"{BUDGET}train_seconds"
    BUDGET_EXAMPLES = f"{BUDGET}examples"
    SEARCH = f"{PREFIX}search"
    EXECUTOR = f"{PREFIX}executor"
    TRIAL = f"{PREFIX}trial"
    FAILED_TRIALS = f"{PREFIX}failed_trials"
    PRUNED_AT = f"{PREFIX}pruned_at"
    BEST_RUN_ID = f"{PREFIX}best_run_id"
    PROCESS = f"{PREFIX}process"
    PLANNED = f"{PREFIX}planned"
    REUSED = f"{PREFIX}reused"
    ALSO_CALLED = f"{PREFIX}also_called"
    NOT_RUN = f"{PREFIX}not_run"
    DOUBTS = f"{PREFIX}doubts"
    REGISTERS = f"{PREFIX}registers"
    REGISTERED_BY = f"{PREFIX}registered_by"
    REGISTRATION = f"{PREFIX}registration"
    MODEL_VERSION = f"{PREFIX}model_version"
    PROMOTION = f"{PREFIX}promotion"
    DECISION = f"{PREFIX}decision"
    PAIRED_TEST = f"{PREFIX}paired_test"
    TEST_SET = f"{PREFIX}test_set"
    DECIDED_BEFORE = f"{PREFIX}decided_before"


_NAMED = {"reused": Tag.REUSED, "not_run": Tag.NOT_RUN}
_NUMBERED = {"planned": Tag.PLANNED, "doubt": Tag.DOUBTS}
"""In older stores a tag for each thing: `reused/RUN_ID`, `doubt/0`, `doubt/1`, ..."""
_NEWER = (
    *(Tag.WORKERS, Tag.PREDICT_SETTING, Tag.ALSO_CALLED),
    *(Tag.REGISTERS, Tag.REGISTERED_BY, Tag.REGISTRATION, Tag.MODEL_VERSION, Tag.PROMOTION, Tag.DECISION, Tag.PAIRED_TEST),
    *(Tag.TEST_SET, Tag.DECIDED_BEFORE),
)
"""Had no other name: whatever is called so is somebody else's."""
_PLAIN = {tag.removeprefix(PREFIX): str(tag) for tag in Tag if tag not in (*_NAMED.values(), *_NUMBERED.values(), *_NEWER)}


def under_todays_names(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags of a run, those of older versions renamed; where a run has both, today's counts."""
    kept: dict[str, str] = {}
    renamed: dict[str, str] = {}
    named: dict[Tag, dict[str, str]] = defaultdict(dict)
    numbered: dict[Tag, dict[int, str]] = defaultdict(dict)
    for name, value in tags.items():
        kind, _, rest = name.partition("/")
        if name in _PLAIN:
            renamed[_PLAIN[name]] = value
        elif kind == "sha256" and rest:
            renamed[CHECKSUM + rest] = value
        elif kind in _NAMED and rest:
            named[_NAMED[kind]][rest] = value
        elif kind in _NUMBERED and rest.isdecimal() and (kind != "planned" or _is_planned(value)):
            numbered[_NUMBERED[kind]][int(rest)] = value
        else:
            kept[name] = value
    ordered = {tag: [texts[number] for number in sorted(texts)] for tag, texts in numbered.items()}
    lists: dict[Tag, object] = {**named, **ordered}
    if Tag.PLANNED in ordered:
        lists[Tag.PLANNED] = {title: [first, count] for title, first, count in map(parse_json, ordered[Tag.PLANNED])}
    return {**renamed, **{str(tag): json.dumps(found) for tag, found in lists.items()}, **kept}


def _is_planned(text: str) -> bool:
    """Whether a text is a strategy's name, its first seed and how many, as older versions wrote them; others tag runs, too."""
    try:
        title, first, count = parse_json(text)
    except (ValueError, TypeError):
        return False
    return isinstance(title, str) and isinstance(first, int) and isinstance(count, int)


def under_former_names(tags: Mapping[str, str]) -> dict[str, str]:
    """The same tags as an older version wrote them."""
    former = {today: name for name, today in _PLAIN.items()}
    return {former.get(name, name): value for name, value in tags.items()}


VIEW = "strategies"
"""Key of the view that MLflow's UI opens by `?viewStateShareKey=strategies`."""


def experiment_tags(metric: str) -> dict[str, str]:
    """What the MLflow UI shows of an experiment, and of which kind it takes it to be.

    Its view has finished trainings, a group a strategy with means over its runs, the best by validation score first. The UI
    keeps a view that somebody shares as a tag of the experiment, in JSON. That is not documented; seen in MLflow 3.17.2.

    Args:
        metric: By which rows of classes are ranked.
    """
    scores = (f"val/{metric}", f"test/{metric}", "model/trainable_percent")
    costs = ("cost/train_seconds", "cost/peak_cuda_mb", "cost/peak_rss_mb", "cost/latency_ms_median")
    columns = [f"metrics.`{name}`" for name in (*scores, *costs)] + ["params.`learning_rate`", "params.`seed`"]
    view = {
        "selectedColumns": columns,
        "columnOrder": ["attributes.`run_name`", *columns],
        "groupBy": {"aggregateFunction": "average", "groupByKeys": [{"mode": "tag", "groupByData": "strategy"}]},
        "searchFilter": "tags.stage = 'train' AND attributes.status = 'FINISHED'",
        "orderByKey": columns[0],
        "orderByAsc": False,
    }
    return {
        "mlflow.experimentKind": "custom_model_development",
        DESCRIPTION: (
            "Runs of fairtune. Open the newest one whose name begins with `study`: its description is the verdict, its metrics "
            "are the rows of the table.\n\nBelow it stand its trainings, their tests, and the run `compare-...` with "
            "`report.html`."
        ),
        f"mlflow.sharedViewState.{VIEW}": json.dumps(view),
    }
