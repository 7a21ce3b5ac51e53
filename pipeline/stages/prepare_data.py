"""The stage `prepare_data`: read, clean, split and audit labelled text, and say what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict

from pipeline import config as configs
from pipeline.config.identity import identify
from pipeline.data.long_texts import WINDOWS, LongTextReading, refuse_idle_overlap
from pipeline.data.overlap.texts import overlap_metrics, warn_of_overlap
from pipeline.data.prepared import PreparedData, prepare
from pipeline.data.quality_checks import describe_dropped
from pipeline.data.token_losses import describe_losses
from pipeline.data.tokenization import clamp_length, tokenize
from pipeline.modeling.loading import load_tokenizer
from pipeline.modeling.merged_adapters import find_pretrained
from pipeline.stages.progress import say
from pipeline.stages.run_record import log_datasets, origin_tags
from pipeline.tracking import open_tracker
from pipeline.tracking.runs import Tracker, closing


def run(config: configs.PrepareDataConfig, tracker: Tracker | None = None, parent_id: str | None = None) -> PreparedData:
    """Prepare the data and log what is in it; data prepared before from the same content is used again.

    Raises:
        InputError: Data or tokenizer cannot be used; no run was made.
    """
    from pipeline.data.plots import draw_overlap, draw_token_lengths  # with matplotlib, which whoever trains does without

    if parent_id is None:
        refuse_idle_overlap(config.explicit, [config.long_texts])
    address = find_pretrained(config.model, config.model_revision, config.base_model, config.cache_dir)
    tokenizer = load_tokenizer(address)
    prepared, reused = prepare(config.dataset, config, config.force)
    manifest, reading = prepared.manifest, LongTextReading.of(config)
    max_length = clamp_length(config.max_length, tokenizer, address.encoder.max_positions)
    reading.check(manifest.pairs, tokenizer, max_length)
    tracker = tracker or open_tracker()
    with closing(tracker.start(f"prepare-{manifest.name}", parent_id)) as logger:
        logger.log_params(identify(config))
        logger.set_tags(
            {
                **origin_tags("prepare_data", config, manifest.fingerprint),
                "recipe": config.recipe,
                "reused": str(reused),
            }
        )
        logger.log_metrics(dict(_counts(prepared)))
        logger.log_text(json.dumps(asdict(manifest), indent=1, ensure_ascii=False), "manifest.json")
        logger.log_text(json.dumps({"counts": manifest.overlap, "examples": prepared.examples()}, indent=1), "overlap.json")
        logger.log_figure(
            draw_overlap(manifest.overlap, f"{manifest.name}, --split {config.split}: overlap of splits"), "overlap.png"
        )
        log_datasets(logger, prepared, "train", "validation", "test")
        lengths, losses = {}, dict[str, float]()
        for split in ("train", "validation"):  # test texts are for `evaluate` alone
            table = prepared.read(split)
            key = address.tokenizer_sha256()
            sha256, segments = manifest.split_sha256[split], address.encoder.tells_segments
            tokens = tokenize(table, tokenizer, key, max_length, sha256, config.cache_dir, segments, reading)
            lengths[split] = tokens.lengths
            if split == "train" and tokens.losses is not None:
                losses = tokens.losses.metrics()
        logger.log_metrics(losses)
        title = f"{manifest.name}, tokens of {config.model}"
        things = "pieces of texts" if reading.way == WINDOWS else "texts"
        logger.log_figure(draw_token_lengths(lengths, max_length, title, things), "token_lengths.png")
    for line in summarise_data(prepared):
        say(line)
    for line in describe_losses(losses, max_length, config.model, config.long_texts):
        say(f"  {line}")
    return prepared


def _counts(prepared: PreparedData) -> Iterator[tuple[str, float]]:
    manifest = prepared.manifest
    yield "data/classes", len(manifest.classes)
    for name, count in manifest.rows.items():
        yield f"data/rows_{name}", count
        yield f"data/duplicates_within_{name}", manifest.audit["duplicates_within"][name]
    yield "data/dropped_rows", sum(manifest.dropped.values())
    for reason, count in manifest.dropped.items():
        yield "data/dropped_" + reason.replace(" ", "_"), count
    for pair, count in manifest.audit["duplicates_across"].items():
        yield "data/duplicates_across_" + pair.replace("/", "_"), count
    yield "data/conflicting_labels", manifest.audit["conflicting_labels"]
    yield from overlap_metrics(manifest.overlap).items()


def summarise_data(prepared: PreparedData) -> Iterator[str]:
    """Sizes, classes, dropped rows, repetitions and overlap, contradictions."""
    manifest = prepared.manifest
    rows = ", ".join(f"{name} {count:,}" for name, count in manifest.rows.items())
    kind = "labels" if manifest.multi else "classes"
    classes = f"{kind} {', '.join(manifest.classes[:10])}{' ...' if len(manifest.classes) > 10 else ''}"
    labels = "scores {:g} to {:g}".format(*manifest.score_range) if manifest.score_range else classes
    yield f"{manifest.name}: {rows}{' pairs of texts' if manifest.pairs else ''}; {labels}."
    yield from (f"  {line}" for line in describe_dropped(manifest.dropped))
    things = "Pairs" if manifest.pairs else "Texts"
    across = {pair: count for pair, count in manifest.audit["duplicates_across"].items() if count}
    if across:
        yield (
            f"  {things} that stand in two splits: " + ", ".join(f"{count:,} in {pair}" for pair, count in across.items()) + "."
        )
    if warning := warn_of_overlap(overlap_metrics(manifest.overlap)):
        yield f"  {warning}"
    if manifest.audit["conflicting_labels"]:
        what = "set of labels" if manifest.multi else "label"
        yield f"  {things} with more than one {what}: {manifest.audit['conflicting_labels']:,} (see --annotators)."
    yield from (f"  {note}" for note in manifest.notes)
    yield f"  Fingerprint {manifest.fingerprint[:12]}, kept in {prepared.folder}."
