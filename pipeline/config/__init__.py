"""One frozen class per stage. The classes of this folder are where an option, its default and its help text are declared.

The command line, MLproject, the recipes and the record of a run are derived from these classes.
"""

from __future__ import annotations

import importlib
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from pipeline.config.auto import AutoConfig as AutoConfig
from pipeline.config.dry_run import DryRunConfig as DryRunConfig
from pipeline.config.export import ExportConfig as ExportConfig
from pipeline.config.fields import (
    Arguments,
    Choice,
    Count,
    Delimiter,
    Fair,
    Names,
    NonNegative,
    OfEncoder,
    Operational,
    OptimizerName,
    Pooling,
    Probability,
    Rate,
    Ratios,
    Schedule,
    Seed,
    Share,
    Switches,
    change_values,
    config_class,
)
from pipeline.config.imbalance import ImbalanceConfig
from pipeline.config.long_texts import LongTextsConfig
from pipeline.config.measuring import MeasuringConfig as MeasuringConfig
from pipeline.config.measuring import TransferConfig as TransferConfig
from pipeline.config.ranking import RankingConfig as RankingConfig
from pipeline.config.ranking import RegisterConfig as RegisterConfig
from pipeline.config.reading import ReadingConfig as ReadingConfig
from pipeline.config.stage import HEADINGS as HEADINGS
from pipeline.config.stage import Data, Files, Model, MostUsed, Search, Training
from pipeline.config.stage import StageConfig as StageConfig
from pipeline.config.train_sizes import CurveConfig, TrainSizeConfig
from pipeline.registry import OBJECTIVES

# Filled in by the command line itself, never typed.
INTERNAL = frozenset({"explicit", "strategy_reason", "entry"})
# Declared in MLproject with a default, hence always given by `mlflow run`: a recipe could never set them.
DECLARED = frozenset(
    {"recipe", "strategy", "strategy_args", "seed", "strategies", "run_id", "study", "input", "output", "name", "promote"}
)

# Metrics are declared above this package in the order of imports, so what finds them is imported by name.
_METRICS = importlib.import_module("pipeline.evaluation.metric")

DEFAULT_RATIOS = (0.8, 0.1, 0.1)
# Data that comes as a file a part, instead of --dataset.
PART_FILES = ("train_file", "validation_file", "test_file")


@config_class
class SplitConfig(ReadingConfig):
    """How labelled text is read and cut into train, validation and test."""

    dataset_config_name: Annotated[str | None, Data(19)] = None
    """Configuration of a hub data set, such as `sst2` of `nyu-mll/glue`."""
    dataset_revision: Annotated[str | None, Data(20)] = None
    """Branch, tag or commit of a hub data set."""
    train_file: Annotated[str | None, Data(13)] = None
    """Instead of --dataset: a file of a format that --dataset takes, to train on."""
    validation_file: Annotated[str | None, Data(14)] = None
    """Beside --train-file: a file to select checkpoints on; cut from train if not given."""
    test_file: Annotated[str | None, Data(15)] = None
    """Beside --train-file: a file to test on."""
    label_column: Annotated[str | None, Data(3)] = None
    """Column that holds the class, or the score; found by its usual names if not given."""
    label_type: Annotated[Literal["class", "multi", "score"], Data(4)] = "class"
    """class: one class a text; multi: any number of labels a text; score: numbers on a scale, such as a similarity."""
    label_separator: Annotated[Delimiter | None, Data(4)] = None
    """With --label-type multi: what stands between the labels of a cell, such as "|"; if not given, cells hold JSON lists."""
    label_columns: Annotated[Names, Data(4)] = ()
    """With --label-type multi, instead of --label-column: columns of 0 and 1, one a label, separated by commas."""
    labels: Annotated[Names, Data(5)] = ()
    """All classes in the order that tables and pictures show, separated by commas; by value or alphabet if not given."""
    annotators: Annotated[Literal["all", "first", "majority", "drop"] | None, Data(5)] = None
    """Of a text that several annotated: all keeps each annotation, on one side of a split; first keeps the first; majority the
    label that most gave; drop leaves it out where they differ. all, with a note, if not given."""
    split: Annotated[Literal["random", "official", "grouped"], Data(9)] = "random"
    """random: by --split-ratios, stratified by class; official: the parts that the data set comes with; grouped: near
    --split-ratios, with overlapping texts, or the rows of one value of --group-column, on one side."""
    group_column: Annotated[str | None, Data(12)] = None
    """Column whose rows of equal value stay on one side with --split grouped, such as an author or a film."""
    split_ratios: Annotated[Ratios, Data(10)] = DEFAULT_RATIOS
    """Shares of train, validation and test with --split random or grouped."""
    split_seed: Annotated[Seed, Data(11)] = 42
    """Seed of the random split and of the choice of --max-train-samples."""

    @model_validator(mode="before")
    @classmethod
    def _derive(cls, given: Any) -> Any:
        """Data named by files is called after the training file, and the parts that were given are the split."""

        def settle(values: dict[str, Any]) -> None:
            if values.get("train_file"):
                if "dataset" in cls.__dataclass_fields__:
                    values.setdefault("dataset", values["train_file"])
                if values.get("validation_file") or values.get("test_file"):
                    values.setdefault("split", "official")

        return change_values(given, settle)


@config_class
class EncoderConfig(LongTextsConfig, SplitConfig):
    """Which data, and which pretrained encoder with its tokenizer."""

    dataset: Annotated[str, MostUsed(7)] = "rotten_tomatoes"
    """rotten_tomatoes, imdb, sst2, a CSV, TSV, JSON-lines, Parquet or Excel file, a folder with a file a part or a folder a
    class, or a hub id."""
    model: Annotated[str, OfEncoder(""), MostUsed(9)] = "minilm"
    """minilm (packaged), a local folder, or a hub id such as bert-base-uncased; a peft adapter, which is merged first."""
    model_revision: Annotated[str | None, OfEncoder(), Model(4)] = None
    """Branch, tag or commit of a hub model."""
    base_model: Annotated[str | None, OfEncoder(), Model(7)] = None
    """Where --model is a peft adapter: the model that it was trained on, if its adapter_config.json does not say so."""
    max_length: Annotated[Count, OfEncoder(), Data(6)] = 128
    """Longest input in tokens; of longer texts is read what --long-texts says. Clamped to what the model's positions allow."""
    recipe: Annotated[str, Operational(), MostUsed(1)] = "quickstart"
    """Name of a recipe, or path of a recipe file, that sets options not given here."""


@config_class
class PrepareDataConfig(EncoderConfig):
    """Read, clean, split, audit and fingerprint the labelled text."""

    force: Annotated[bool, Operational(), Files(4)] = False
    """Prepare again even where the same data was prepared before."""


@config_class
class FitConfig(AutoConfig, ImbalanceConfig, TrainSizeConfig, EncoderConfig):
    """How one model is trained, whatever the strategy."""

    objective: Annotated[str, AfterValidator(OBJECTIVES.current), OfEncoder(), Model(2)] = "classification"
    """classification: one input (of a pair both texts in it) and a head on the encoder; bi_encoder: the texts of a pair one by
    one through one encoder, compared by cosine similarity."""
    pooling: Annotated[Pooling | None, OfEncoder(), Model(3)] = None
    """How --objective bi_encoder makes a vector of token states; if not given as the model's 1_Pooling says, or mean."""
    max_train_samples: Annotated[Count | None, Data(7)] = None
    """Bound what there is to train on to so many examples, drawn by --split-seed, the same for every strategy and seed."""
    max_eval_samples: Annotated[Count | None, Data(8)] = None
    """Evaluate on at most so many examples of validation and of test."""
    head: Annotated[str, OfEncoder(), Model(1)] = "pooler"
    """Classifier on the encoder: pooler (its family's own), mean or attention (over all tokens), mlp, or one of your own."""
    model_labels: Annotated[Names, OfEncoder(), Model(5)] = ()
    """The data's classes in the order in which the model's own classifier puts them out; matched by name if not given."""
    learning_rate: Annotated[Rate, OfEncoder(), MostUsed(10)] = 2e-5
    """Peak learning rate, reached after warm-up; then --lr-scheduler-type says how it goes on."""
    batch_size: Annotated[Count, OfEncoder(), MostUsed(12)] = 32
    """Examples per optimizer step."""
    gradient_accumulation_steps: Annotated[Count, OfEncoder(), Training(10)] = 1
    """Compute every batch in so many pieces, one after another, and step by the sum of their gradients: the same but for
    rounding, and for which elements dropout drops, in less memory."""
    auto_batch: Annotated[bool, OfEncoder(), Training(10)] = False
    """true: where the memory does not suffice for a batch or a piece of one, compute it in twice as many pieces, and so on.
    --batch-size, and so the result, stays, as with --gradient-accumulation-steps."""
    gradient_checkpointing: Annotated[bool, OfEncoder(), Training(10)] = False
    """true: keep only what enters each layer, and compute the layer anew in the backward pass. The same result in less memory
    and more time."""
    epochs: Annotated[Count, OfEncoder(1), MostUsed(11)] = 3
    """Passes over the training data."""
    dropout: Annotated[Probability, OfEncoder(), Model(6)] = 0.1
    """Dropout probability of hidden states, attention and classifier alike."""
    optimizer: Annotated[OptimizerName, OfEncoder(), Training(1)] = "adamw"
    """adamw; adafactor: less memory, as it keeps a number per row and column of a matrix where AdamW keeps two per weight."""
    weight_decay: Annotated[NonNegative, OfEncoder(), Training(1)] = 0.01
    """The optimizer's weight decay; biases and layer norms are spared."""
    warmup_ratio: Annotated[Share, OfEncoder(), Training(2)] = 0.1
    """Share of all steps over which the learning rate rises from zero."""
    lr_scheduler_type: Annotated[Schedule, OfEncoder(), Training(2)] = "linear"
    """Learning rate after warm-up. linear, cosine: down to zero at the end; constant: it stays at its peak."""
    max_grad_norm: Annotated[Rate, OfEncoder(), Training(3)] = 1.0
    """Gradients are scaled down to this global norm."""
    eval_steps: Annotated[Count | None, OfEncoder(), Training(4)] = None
    """Evaluate every so many steps; after each epoch if not given."""
    logging_steps: Annotated[Count, OfEncoder(), Training(5)] = 10
    """Log the mean training loss every so many steps."""
    metric_for_best_model: Annotated[str, Choice(_METRICS.selection_choices), Training(6)] = _METRICS.selecting("class").name
    """Validation metric by which the kept checkpoint is chosen; if not given, of scores spearman, of label sets f1_macro."""
    early_stopping_patience: Annotated[Count | None, OfEncoder(), Training(7)] = None
    """Stop after so many evaluations in a row without improvement; never if not given."""
    precision: Annotated[Literal["auto", "fp32", "bf16", "fp16"], OfEncoder("fp32"), Training(8)] = "auto"
    """Type of matrix products; auto: on a CPU bf16 if a short measurement shows it faster, on a GPU bf16 or fp16, else fp32."""
    frozen_prefix_cache: Annotated[bool, OfEncoder(), Operational(), Files(7)] = True
    """Compute the frozen lower layers' activations once, and keep them on disk for all epochs, trials and seeds."""
    frozen_prefix_cache_gb: Annotated[Rate, OfEncoder(), Operational(), Files(8)] = 20.0
    """Disk limit of that cache in GiB (least recently used entries are evicted); what does not fit is computed per batch."""
    system_metrics: Annotated[bool, Operational(), Files(10)] = False
    """Record what the machine does while a model trains, every ten seconds: processor, memory, disk, network and, where
    nvidia-ml-py is installed, GPU. MLflow shows it under "System metrics"."""
    acceleration: Annotated[Switches, OfEncoder(), Training(8)] = ("auto",)
    """What makes steps faster. auto: all that applies; off: nothing; or only some of attention_kernels, attention_masks,
    cuda_graphs, first_token, fused_lora, quick_dropout, reduced_embeddings. Results are equal but for rounding, and but for
    which elements quick_dropout drops."""
    cuda_graphs: Annotated[Literal["auto", "off"], OfEncoder(), Operational(), Training(9)] = "auto"
    """auto: on a GPU, launch a step that repeats as one CUDA graph, where that is possible; off: never, whatever --acceleration
    says. Results are equal but for rounding."""
    num_processes: Annotated[Count, OfEncoder(), Operational(), Training(10)] = 1
    """Train one model with so many processes, a GPU each where there are any; each takes its share of every batch."""
    seed: Annotated[Seed, MostUsed(15)] = 42
    """Seed of order, initialisation and dropout, unless they have their own."""
    data_seed: Annotated[Seed | None, Training(12)] = None
    """Seed of the order of the examples; --seed if not given."""
    init_seed: Annotated[Seed | None, Training(13)] = None
    """Seed of newly initialised weights; --seed if not given."""
    dropout_seed: Annotated[Seed | None, Training(14)] = None
    """Seed of dropout; --seed if not given."""

    @model_validator(mode="before")
    @classmethod
    def _choose_metric(cls, given: Any) -> Any:
        """Each label type has a metric of its own, but for classes, whose is the default."""

        def settle(values: dict[str, Any]) -> None:
            if (label_type := values.get("label_type")) in ("multi", "score"):
                values.setdefault("metric_for_best_model", _METRICS.selecting(label_type).name)

        return change_values(given, settle)


@config_class
class TrainConfig(FitConfig):
    """Fine-tune one encoder with one strategy and log the run."""

    strategy: Annotated[str, MostUsed(3)] = "full"
    """Name of the fine-tuning strategy; auto takes one by what was measured, or by a rule (see --auto)."""
    strategy_args: Annotated[Arguments, MostUsed(4)] = Field(default_factory=dict)
    """The strategy's own arguments, such as top_k=4 or r=16,alpha=32."""
    strategy_reason: Annotated[str, Operational()] = ""
    """Why `auto` took the strategy."""
    entry: Annotated[str, Operational()] = ""
    """The recipe's entry, where it has another name than its strategy."""

    @property
    def title(self) -> str:
        """What the run is called: the recipe's entry, or the strategy."""
        return self.entry or self.strategy


@config_class
class TrainCommandConfig(DryRunConfig, TrainConfig):
    """Fine-tune one encoder with one strategy and log the run."""


@config_class
class SearchConfig(FitConfig):
    """How hyperparameters are searched, the same for every strategy."""

    trials: Annotated[Count, MostUsed(14)] = 12
    """Budget of a search in trials; all points of the space if there are fewer."""
    budget_seconds: Annotated[Rate | None, Search(4)] = None
    """Instead of --trials: budget in seconds of training, all trials together."""
    budget_examples: Annotated[Count | None, Search(5)] = None
    """Instead of --trials: budget in training examples seen, repetitions counted, all trials together."""
    space: Annotated[Literal["strategy", "study", "recipe"] | None, Search(1)] = None
    """strategy: rates that suit the strategy, and its own arguments; study: the SST-2 study's grid of rates, batch sizes,
    dropout and epochs; recipe: what the recipe says. The recipe's if it has one and strategy if not, unless given here."""
    sampler: Annotated[Literal["random", "grid", "tpe"], Search(2)] = "random"
    """random: independent draws, without repetition from a finite space; grid: every point; tpe: guided by earlier trials."""
    pruner: Annotated[Literal["none", "halving"], Search(3)] = "none"
    """halving: end the worse half of the trials after 1, 2, 4, ... evaluations. Slow starters lose by it, and equal numbers of
    trials no longer cost the same."""
    workers: Annotated[Count, Operational(), Search(6)] = 1
    """Trials, and a study's trainings and tests, that run at once, each in a process with its share of the cores, or a GPU."""
    executor: Annotated[str, Operational(), Search(7)] = "auto"
    """Where trials, and a study's trainings and tests, run. local: in processes of this machine; ray: on a Ray cluster;
    batched: all trials at once in one process, where they train a head alone; auto: batched where that is possible, else
    local."""
    ray_address: Annotated[str | None, Operational(), Search(8)] = None
    """The cluster of --executor ray, such as 10.0.0.1:6379; RAY_ADDRESS if not given."""
    storage: Annotated[str | None, Operational(), Search(9)] = None
    """Database of Optuna that keeps a search, such as postgresql+psycopg2://...; a file below --cache-dir if not given."""


@config_class
class TuneConfig(TrainConfig, SearchConfig):
    """Search hyperparameters of one strategy; the best trial by a validation metric wins."""

    study_name: Annotated[str | None, Operational(), Search(10)] = None
    """Name of the search in --storage; made from what is searched if not given."""
    force: Annotated[bool, Operational(), Files(4)] = False
    """Search again although the same search was finished."""


@config_class
class EvaluateConfig(MeasuringConfig, LongTextsConfig, SplitConfig):
    """Score a trained run, or a model that was trained elsewhere, on test data; a run on other data, too."""

    run_id: Annotated[str | None, MostUsed(5)] = None
    """Run of the train stage (or the best trial of tune) to evaluate on its own test split, or on --dataset."""
    model: Annotated[str | None, MostUsed(9)] = None
    """Instead of a run: a folder or hub id with a model, or a peft adapter, that was trained elsewhere; needs --dataset."""
    model_revision: Annotated[str | None, Model(4)] = None
    """Branch, tag or commit of a hub model."""
    base_model: Annotated[str | None, Model(7)] = None
    """Where --model is a peft adapter: the model that it was trained on, if its adapter_config.json does not say so."""
    dataset: Annotated[str | None, MostUsed(7)] = None
    """Data for --model, or other data for --run-id, whose scores go to a run of their own: a data set's name, a file, a
    folder, or a hub id."""
    model_labels: Annotated[Names, Model(5)] = ()
    """The data's classes in the order in which --model puts them out; matched by name if not given."""
    split_part: Annotated[Literal["train", "validation", "test", "all"] | None, Operational(), MostUsed(8)] = None
    """Which rows --run-id is scored on. Of --dataset all rows if not given, or the test part if it comes in parts; of the run's
    own data the test part."""
    max_length: Annotated[Count, Data(6)] = 128
    """Longest input in tokens for --model; what export wrote has its own, unless this is given. A run, and a folder that train
    wrote, keep their own, and their --long-texts."""
    max_eval_samples: Annotated[Count | None, Data(8)] = None
    """Test on at most so many examples of --dataset; on its own test split a run keeps its own number."""
    force: Annotated[bool, Operational(), Files(4)] = False
    """Evaluate again although the run has its test result already."""


@config_class
class PredictConfig(ReadingConfig):
    """Label the texts of a file with a trained run's model. An interrupted prediction goes on where it was."""

    run_id: Annotated[str | None, MostUsed(5)] = None
    """Run of the train stage (or the best trial of tune) whose model predicts."""
    model: Annotated[str | None, MostUsed(9)] = None
    """Instead of a run: a folder with a model that train wrote, or one of MLflow's registry, such as models:/NAME@champion."""
    input: Annotated[str | None, MostUsed(6)] = None
    """File of texts, of any size and of a format that --dataset of train takes."""
    output: Annotated[str | None, MostUsed(7)] = None
    """File to write, by its ending .csv, .jsonl or .parquet: the rows of --input in their order, with label, scores and how
    many tokens were not read."""
    min_score: Annotated[Probability, MostUsed(8)] = 0.0
    """Leave the label empty where its probability is lower; of several labels leave out those."""
    keep_columns: Annotated[Names | None, Data(7)] = None
    """Columns of --input that go to --output, separated by commas; all if not given."""
    prefix: Annotated[str, Data(8)] = ""
    """What the names of the new columns begin with, where --input has a column of such a name."""
    force: Annotated[bool, Operational(), Files(4)] = False
    """Write --output anew where it is there."""


@config_class
class ComparisonConfig(RankingConfig):
    """By what rows are ranked, and where a comparison is written to beside the tracking store."""

    export_dir: Annotated[str | None, Operational(), Files(5)] = None
    """Also write results/ (predictions per strategy) and models/ below this folder."""


@config_class
class CompareConfig(ComparisonConfig):
    """Build the results table and its pictures from the tracking store."""

    study: Annotated[str | None, MostUsed(6)] = None
    """Run id of a `main` run to compare; the newest if not given; `all` takes every run on the newest data."""
    run_ids: Annotated[Names, Files(1)] = ()
    """Compare exactly these runs instead, separated by commas."""
    allow_unequal_budgets: Annotated[bool, Files(2)] = False
    """Rank the rows although they were tuned with different budgets, or some not at all, or trained on different data."""


@config_class
class ReproduceConfig(StageConfig):
    """Train a run again from its record, and compare the outcome with the original."""

    run_id: Annotated[str | None, MostUsed(5)] = None
    """Run of the train stage, or the best trial of tune, to make again."""
    tolerance: Annotated[NonNegative, Files(3)] = 0.005
    """Validation and test scores (accuracy, precision, recall, F1, correlations) that differ by no more count as equal within
    tolerance; losses and calibration are reported beside them."""


@config_class
class MainConfig(DryRunConfig, MeasuringConfig, CurveConfig, SearchConfig, ComparisonConfig):
    """The whole study of a recipe: prepare, tune if asked, train every strategy, evaluate, compare."""

    strategies: Annotated[Names, MostUsed(2)] = ()
    """Only these strategies, separated by commas; all of the recipe if not given; `all` for every one that can work here."""
    models: Annotated[Names, OfEncoder(), Model(7)] = ()
    """Instead of --model: several, separated by commas. Every strategy trains on each of them, in one comparison."""
    fair: Annotated[Fair, MostUsed(3)] = "no"
    """targets: all adapters on the linear layers that lora's are on; parameters: each method's rank or size such that as many
    parameters train as of lora, within 10 %; both: the one and the other. What an entry of the recipe sets stays."""
    tune: Annotated[bool, MostUsed(13)] = False
    """Search each strategy's hyperparameters first, with the same budget."""
    seeds: Annotated[Count, MostUsed(16)] = 5
    """How many seeds each strategy is trained with: --seed, --seed + 1 and so on, the same ones for all. Without --recipe the
    recipe is quickstart, with 1 seed; add --seeds 5."""
    force: Annotated[bool, Operational(), Files(4)] = False
    """Train and evaluate again what an earlier run has done with the same code, configuration and data."""
