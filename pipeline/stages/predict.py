"""The stage `predict`: label the texts of a file with a trained model."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline import config as configs
from pipeline.config.identity import identify
from pipeline.config.stage import flag
from pipeline.data.builder import Chosen
from pipeline.data.columns import Input, find_text_column
from pipeline.data.labels import scalars_as_texts
from pipeline.data.reading.files import check_encoding
from pipeline.data.reading.tables import read_columns
from pipeline.data.sources.file import check_options
from pipeline.errors import ConfigError, DataError, enumerate_some, shorten
from pipeline.failures import writing_to
from pipeline.given_paths import expand, is_file
from pipeline.hashing import CHECKSUMS, digest, hash_file
from pipeline.modeling.foreign_folders import DELTA
from pipeline.stages.labelled_file import WRITERS, LabelledFile, as_array, parts_folder
from pipeline.stages.processes.workers import hold_lock
from pipeline.stages.progress import say
from pipeline.stages.run_record import open_trained, origin_tags, read_config
from pipeline.stages.testing.test import scoring_version
from pipeline.tracking import open_tracker
from pipeline.tracking.runs import Tracker, closing
from pipeline.tracking.served_model import TOKENS_CUT
from pipeline.training.acceleration.base import AUTO
from pipeline.training.inference import TrainedModel
from pipeline.training.memory.allocator import keep_what_is_freed
from pipeline.training.saved_model import load_model_folder, read_record

_SECONDS_BETWEEN_LINES = 10.0
_ANYTHING = "text"  # the names of an answer's columns are seen from an answer
_ENDINGS = ".csv, .jsonl or .parquet"


@dataclass(frozen=True)
class PredictResult:
    """What was written."""

    run_id: str
    output: Path
    rows: int
    without_text: int
    """Rows whose label is empty because there was no text."""


def run(config: configs.PredictConfig, tracker: Tracker | None = None, parent_id: str | None = None) -> PredictResult:
    """Label the rows of `--input`, and write them to `--output`.

    Raises:
        InputError: There is no such model or file, or they do not go together.
    """
    began = time.perf_counter()
    source, target = _check(config)
    keep_what_is_freed()
    tracker = tracker or open_tracker()
    with (
        open_trained(config.run_id, config.model, tracker) as (folder, trained),
        _alone(target),
    ):
        as_trained = read_config(tracker, trained, config.cache_dir) if trained else None
        model = load_model_folder(folder, as_trained.acceleration if as_trained else (AUTO,), config.cache_dir)
        _check_fit(config, model)
        content, sums = hash_file(source), folder / CHECKSUMS
        learned = hash_file(sums if sums.is_file() else folder / DELTA)
        file = LabelledFile(target, digest([identify(config), content, learned, scoring_version(trained)]))
        usual = read_record(folder).text_column or (as_trained.text_column if as_trained else None)  # older models do not say
        labelling = _Labelling(config, model, file, usual)
        name = f"predict-{trained.name if trained else folder.name}"
        with closing(tracker.start(name, parent_id, origin_tags("predict", config, content))) as logger:
            logger.log_params(identify(config))
            labelling.read(source)
            file.finish()
            figures = {"predict/rows": labelling.rows, "predict/rows_without_text": labelling.without_text}
            logger.log_outcome({**figures, "cost/wall_seconds": time.perf_counter() - began})
    say(f"Labelled {labelling.rows:,} rows of {source.name}{labelling.describe()}. They are in {target}.")
    return PredictResult(logger.run_id, target, labelling.rows, labelling.without_text)


def _check(config: configs.PredictConfig) -> tuple[Path, Path]:
    """The files to read and to write.

    Raises:
        ConfigError: One is not given, cannot be, or is there already.
    """
    if bool(config.run_id) == bool(config.model):
        given = "both" if config.run_id else "neither"
        raise ConfigError(f"predict takes either --run-id or --model, and got {given}. Give one.")
    if missing := [flag(name) for name in ("input", "output") if not getattr(config, name)]:
        raise ConfigError(f"predict needs {' and '.join(missing)}: which file to read, and which to write.")
    check_encoding(config.encoding)
    source, target = expand(config.input or ""), expand(config.output or "")
    if not is_file(source):
        raise ConfigError(f"--input {shorten(str(source))}: no such file. Relative paths start at {Path.cwd()}.")
    check_options({_where(config): source}, config)
    if target.suffix.lower() not in WRITERS:
        raise ConfigError(f"--output {shorten(str(target))}: {target.suffix or 'no ending'} is not written. Give {_ENDINGS}.")
    if target.is_dir() or (target.exists() and target.samefile(source)):
        what = "a folder" if target.is_dir() else "the input itself"
        raise ConfigError(f"--output {shorten(str(target))}: is {what}. Name another file.")
    if target.exists() and not config.force:
        raise ConfigError(f"--output {shorten(str(target))}: is there already. Name another file, or add --force true.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--output {shorten(str(target))}: cannot be written ({error.strerror}).") from error
    return source, target


def _where(config: configs.PredictConfig) -> str:
    return f"--input {shorten(config.input or '')}"


@contextlib.contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Keep others from the same output; the lock lies beside it, so they find it from wherever they are started.

    Raises:
        PipelineError: Another process writes it.
    """
    folder = parts_folder(target)
    with writing_to(target.parent):
        folder.mkdir(exist_ok=True)
    with hold_lock(folder / "lock", "prediction", "another --output"):
        try:
            yield
        finally:
            if not any(folder.glob("*.parquet")):  # nothing to go on with
                shutil.rmtree(folder, ignore_errors=True)


def _check_fit(config: configs.PredictConfig, model: TrainedModel) -> None:
    """Hold that options and model go together.

    Raises:
        ConfigError: They do not.
    """
    if config.min_score and (why := model.task.why_no_min_score):
        raise ConfigError(f"--min-score {config.min_score}: {why}. Leave it out.")
    if model.problem.pairs and not config.text_pair_column:
        raise ConfigError("The model takes pairs of texts: name the column of the second ones by --text-pair-column.")
    if config.text_pair_column and not model.problem.pairs:
        raise ConfigError(f"--text-pair-column {config.text_pair_column}: the model takes single texts. Leave it out.")


class _Labelling:
    """Takes rows as they are read, and adds them to the file with what the model says of them."""

    def __init__(self, config: configs.PredictConfig, model: TrainedModel, file: LabelledFile, usual: str | None) -> None:
        """Nothing is read yet.

        Args:
            usual: The column that held the texts in training, if one was named.
        """
        self._config, self._model, self._file, self._usual = config, model, file, usual
        self._where = _where(config)
        self._done = file.rows  # by whom was interrupted
        self._texts: list[str] = []
        self._kept: list[str] = []
        self._names = self._answer([_ANYTHING] if not model.problem.pairs else [(_ANYTHING, _ANYTHING)]).column_names
        self._last_line = time.monotonic()
        self.rows = self.without_text = 0

    def read(self, source: Path) -> None:
        """All rows of a file, from where the interrupted one stopped.

        Raises:
            DataError: It cannot be read, or holds no rows.
        """
        config = self._config
        read_columns(source, self._where, self._choose, config.encoding, config.delimiter, not config.no_header, config.sheet)
        if not self.rows:
            raise DataError(f"{self._where}: holds no rows.")

    def describe(self) -> str:
        """What became of the rows, for a line."""
        said = f", {self._done:,} of them before an interruption" if self._done else ""
        said += f"; {self.without_text:,} have no text, hence no label" if self.without_text else ""
        return f"{said}; texts are from {' and '.join(map(repr, self._texts))}"

    def _choose(self, columns: Sequence[str]) -> Chosen:
        """The columns of the texts, and those to keep.

        Raises:
            DataError: One is not there, or has the name of a new one.
        """
        config = self._config
        usual = self._usual if not config.text_column and self._usual in columns else config.text_column
        text = find_text_column(columns, dataclasses.replace(config, text_column=usual))
        named = [("--keep-columns", name) for name in config.keep_columns or ()]
        if config.text_pair_column:
            named.append(("--text-pair-column", config.text_pair_column))
        missing = [] if text else [("--text-column", config.text_column or "text")]
        missing += [(option, name) for option, name in named if name not in columns]
        listed = enumerate_some([name for name in columns if name]) or "none"
        if missing:
            raise DataError(
                *(f"{self._where}: column {name!r} not found. Columns: {listed}. Change {option}." for option, name in missing)
            )
        self._texts = [str(text), *filter(None, [config.text_pair_column])]
        # A column without a name is what pandas writes as an index.
        every = dict.fromkeys(name for name in columns if name)
        self._kept = list(every if config.keep_columns is None else config.keep_columns)
        if clash := [name for name in self._names if name in self._kept]:
            raise DataError(
                f"{self._where}: has a column {shorten(clash[0])!r}, as --output will. Give --prefix, such as predicted_, or "
                "name the others by --keep-columns."
            )
        return Chosen(list(dict.fromkeys([*self._texts, *self._kept])), stream=self._add)

    def _add(self, cells: Mapping[str, Sequence[Any]], numbers: Sequence[int]) -> None:
        """Label some rows, unless the interrupted one has.

        Parts are whole chunks of the reader's, which are the same each time.
        """
        columns = [self._read_texts(cells[name], name, numbers) for name in self._texts]
        rows = list(zip(*columns, strict=True))
        places = [place for place, row in enumerate(rows) if all(row)]
        if self.rows >= self._done:
            texts: list[Input] = [row if len(row) > 1 else row[0] for row in (rows[place] for place in places)]
            answers: list[int | None] = [None] * len(rows)
            for position, place in enumerate(places):
                answers[place] = position
            answer = self._answer(texts).take(pa.array(answers, pa.int64())) if texts else self._no_answers(len(rows))
            kept = {name: as_array(cells[name]) for name in self._kept}
            self._file.add(pa.table({**kept, **{name: answer.column(name) for name in self._names}}))
        self.rows += len(rows)
        self.without_text += len(rows) - len(places)
        self._say_progress()

    def _read_texts(self, values: Sequence[Any], name: str, numbers: Sequence[int]) -> list[str]:
        """The texts of a column, stripped as in training; empty where there is none."""
        given = values.to_pylist() if isinstance(values, pa.Array) else values
        texts = scalars_as_texts(given, self._where, name, numbers).to_pylist()
        return [(text or "").strip() for text in texts]

    def _answer(self, inputs: Sequence[Input]) -> pa.Table:
        outputs, cut = self._model.predict_and_count(inputs)
        answer = self._model.task.answer(outputs, self._config.min_score).assign(**{TOKENS_CUT: cut})
        table = pa.Table.from_pandas(answer, preserve_index=False).replace_schema_metadata()
        return table.rename_columns([self._config.prefix + name for name in table.column_names])

    def _no_answers(self, rows: int) -> pa.Table:
        return pa.table({name: pa.nulls(rows) for name in self._names})

    def _say_progress(self) -> None:
        if time.monotonic() - self._last_line > _SECONDS_BETWEEN_LINES:
            say(f"  {self.rows:,} rows")
            self._last_line = time.monotonic()
