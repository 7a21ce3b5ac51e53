"""The GPU benchmark's measurements as one JSON file, as tables, and as a picture."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

SYSTEMS = ("ours", "B", "A")
GOALS = {
    ("bert-base", "full", 32): (5.0, 2.5),
    ("minilm", "full", 32): (8.0, 4.0),
    ("bert-base", "lora", 32): (5.0, 2.5),
    ("minilm", "lora", 32): (5.0, 2.5),
}
"""Setting -> how many times as fast as A and as B ours should be."""


def write_report(output: Path) -> None:
    """Read gpu.jsonl of the folder, and write gpu.json, gpu.md and gpu.png beside it."""
    lines = [json.loads(line) for line in (output / "gpu.jsonl").read_text().splitlines()]
    found = {f"{line['section']}: {line['name']}": line for line in lines}
    rows = step_rows(lines)
    (output / "gpu.json").write_text(json.dumps({"steps": rows, "measurements": found}, indent=1))
    parts = [
        heading(lines),
        step_table(rows),
        memory_table(rows),
        together_table(lines),
        search_table(lines),
        loss_table(lines),
        training_table(lines),
        evaluation_table(lines),
        compile_table(lines),
    ]
    parts += [probe_tables(lines), failures(lines)]
    (output / "gpu.md").write_text("\n\n".join(part for part in parts if part) + "\n")
    if rows:
        draw(rows, output / "gpu.png")


def _found(lines: list[dict[str, Any]], section: str) -> list[dict[str, Any]]:
    return [line for line in lines if line["section"] in section.split() and line.get("found") is not None]


def _table(columns: list[str], rows: list[list[Any]]) -> str:
    if not rows:
        return ""
    shown = [["" if cell is None else str(cell) for cell in row] for row in rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in [columns, ["---"] * len(columns), *shown])


def heading(lines: list[dict[str, Any]]) -> str:
    """Card, versions, and what the hardware reaches."""
    about = next((line["found"] for line in _found(lines, "machine") if line["name"] == "machine"), {})
    peaks = next((line["found"] for line in _found(lines, "steps") if line["name"] == "peaks"), {})
    versions = ", ".join(f"{name} {number}" for name, number in about.get("versions", {}).items())
    measured = ", ".join(f"{name} {value:.3g}" for name, value in peaks.items())
    left_out = "; ".join(f"{name} ({why})" for name, why in about.get("left_out", {}).items())
    card = f"{about.get('card')} (CUDA {about.get('cuda')}, driver {about.get('driver', 'not noted')})"
    where = f"{card}, {about.get('cores')} cores; Python {about.get('python')}, {versions}"
    return f"{where}. Measured: {measured}. Left out: {left_out}."


def step_rows(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row per setting: each system's figures (medians over rounds), and ratios and shares of what is steady alone."""
    found: dict[tuple[str, str, int], dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for line in _found(lines, "steps"):
        if "system" in line:
            found[line["shape"], line["strategy"], line["batch_size"]][line["system"]].append(line["found"])
    peak = next((line["found"]["bf16_tflops"] for line in _found(lines, "steps") if line["name"] == "peaks"), None)
    rows = []
    for key, systems in found.items():
        row: dict[str, Any] = dict(zip(("shape", "strategy", "batch_size"), key, strict=True))
        for system, measured in systems.items():
            names = [
                name
                for name in ("ms", "examples_per_second", "allocated_mb", "reserved_mb", "first_visits_seconds")
                if name in measured[0]
            ]
            row[system] = {name: statistics.median(each[name] for each in measured) for name in names}
            if "allocated_mb" in names:  # what earlier measurements left on the GPU is nobody's
                row[system]["allocated_mb"] -= statistics.median(each.get("held_before_mb", 0.0) for each in measured)
            row[system]["rounds_ms"] = [each["ms"] for each in measured]
            row[system]["steady"] = all(each.get("steady", True) for each in measured)
        if "ours" in systems:
            useful = systems["ours"][0]["flops_per_example"]
            row["once_seconds"] = systems["ours"][0]["cache_seconds"]
            for system in [system for system in systems if row[system]["steady"]]:
                if peak:
                    row[system]["mfu"] = useful * row[system]["examples_per_second"] / (peak * 1e12)
                if system != "ours" and row["ours"]["steady"]:
                    row[f"{system} / ours"] = row[system]["ms"] / row["ours"]["ms"]
        rows.append(row)
    return rows


def _of(row: dict[str, Any], system: str, name: str, form: str) -> str:
    value = row.get(system, {}).get(name)
    return "" if value is None else format(value, form)


def _milliseconds(row: dict[str, Any], system: str) -> str:
    shown = _of(row, system, "ms", ".2f")
    return shown if row.get(system, {}).get("steady", True) else f"not steady ({shown})"


def _first_visits(found: dict[str, Any]) -> str:
    """Seconds beyond steady steps; the noise of a difference of two times may be below zero, which nothing costs."""
    return f"{max(0.0, found['first_visits_seconds']):.1f}" if found.get("steady") and "first_visits_seconds" in found else "-"


def step_table(rows: list[dict[str, Any]]) -> str:
    """Milliseconds, ratios, examples a second, utilisation."""
    columns = [
        "encoder",
        "strategy",
        "batch",
        "A, ms",
        "B, ms",
        "ours, ms",
        "without graphs, ms",
        "A / ours",
        "B / ours",
        "goal",
        "first visits A / B / ours, s",
        "ours, texts/s",
        "MFU",
        "once, s",
    ]
    shown = []
    for row in rows:
        goal = GOALS.get((row["shape"], row["strategy"], row["batch_size"]))
        ratios = [f"**{row[name]:.1f}**" if (name := f"{system} / ours") in row else "" for system in ("A", "B")]
        shown.append(
            [
                row["shape"],
                row["strategy"],
                row["batch_size"],
                *(_milliseconds(row, system) for system in ("A", "B", "ours", "eager")),
                *ratios,
                f"{goal[0]:g} / {goal[1]:g}" if goal else "",
                " / ".join(_first_visits(row.get(system, {})) for system in ("A", "B", "ours")),
                _of(row, "ours", "examples_per_second", ",.0f"),
                _of(row, "ours", "mfu", ".1%"),
                f"{row.get('once_seconds', 0):.2f}",
            ]
        )
    return _table(columns, shown)


def memory_table(rows: list[dict[str, Any]]) -> str:
    """Peaks of the GPU's memory; allocated: beyond what was allocated before."""
    columns = [
        "encoder",
        "strategy",
        "batch",
        *(f"{system} {kind}, MB" for kind in ("allocated", "reserved") for system in ("A", "B", "ours")),
        "ours / B",
    ]
    shown = []
    for row in rows:
        if "allocated_mb" in row.get("ours", {}):
            share = row["ours"]["allocated_mb"] / row["B"]["allocated_mb"] if "allocated_mb" in row.get("B", {}) else None
            figures = [
                _of(row, system, f"{kind}_mb", ",.0f") for kind in ("allocated", "reserved") for system in ("A", "B", "ours")
            ]
            shown.append([row["shape"], row["strategy"], row["batch_size"], *figures, "" if share is None else f"{share:.2f}"])
    return _table(columns, shown)


def together_table(lines: list[dict[str, Any]]) -> str:
    """A seed's share of a step of several seeds, beside its step alone."""
    rows = [
        [
            line["shape"],
            line["strategy"],
            line["batch_size"],
            "the same" if line["same_order"] else "each its own",
            f"{line['found']['alone_ms']:.2f}",
            f"{line['found']['ms_of_a_seed']:.2f}",
            f"**{line['found']['alone / together']:.2f}**",
        ]
        for line in _found(lines, "together")
        if "same_order" in line
    ]
    table = _table(["encoder", "strategy", "batch", "order of texts", "alone, ms", "together, ms a seed", "ratio"], rows)
    return table and "Five seeds in one step:\n\n" + table


def search_table(lines: list[dict[str, Any]]) -> str:
    """Seconds of the search of heads; none of a system of which a batch size was not measured."""
    seconds: dict[str, float] = defaultdict(float)
    for line in _found(lines, "search"):
        seconds[line["system"]] += line["found"]["train_seconds"]
    for line in lines:
        if line["section"] == "search" and "system" in line and line.get("found") is None:
            seconds.pop(line["system"], None)
    ours = next((line["found"] for line in _found(lines, "search") if line["system"] == "ours"), None)
    if not ours:
        return ""
    row = [f"{seconds[system]:,.1f}" if system in seconds else "" for system in ("A", "B")] + [f"{seconds['ours']:.2f}"]
    row += [f"{seconds[system] / seconds['ours']:,.0f}" if system in seconds else "" for system in ("A", "B")]
    row += [f"{ours['one_off_seconds']:.2f}", f"{ours['grid_seconds']:.2f}", f"{ours['wall_seconds']:.2f}"]
    names = [
        "A, s (extrapolated)",
        "B, s (extrapolated)",
        "ours, s",
        "A / ours",
        "B / ours",
        "once, s",
        "with evaluation, s",
        "with runs, s",
    ]
    return "Search of 36 points for head_only:\n\n" + _table(names, [row])


def loss_table(lines: list[dict[str, Any]]) -> str:
    """The largest relative difference of the first losses from those in float32 on the CPU."""
    by_setting: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(dict)
    for line in [line for line in lines if line["section"].startswith("losses") and line.get("found")]:
        by_setting[line["shape"], line["strategy"]][f"{line['place']} {line['precision']}"] = line["found"]
    shown = []
    for (shape, strategy), found in by_setting.items():
        reference = found.get("cpu fp32")
        if reference:
            row: list[Any] = [shape, strategy, f"{reference[0]:.4f}", f"{reference[-1]:.4f}"]
            for name in ("gpu fp32", "gpu bf16"):
                pairs = list(zip(found.get(name, []), reference, strict=False))
                row.append(f"{max(abs(a - b) / abs(b) for a, b in pairs):.1e}" if pairs else "")
            shown.append(row)
    columns = ["encoder", "strategy", "first loss", "last loss", "fp32 on the GPU", "bf16 on the GPU"]
    table = _table(columns, shown)
    return table and "Losses of the first steps, largest relative difference from float32 on the CPU:\n\n" + table


def _cost(name: str, found: dict[str, float]) -> str:
    if name not in found:
        return ""
    return f"{found[name]:.2%}" if name == "cost/model_flops_utilisation" else f"{found[name]:,.4g}"


def training_table(lines: list[dict[str, Any]]) -> str:
    """What runs of `train` record."""
    names = {
        "cost/peak_cuda_mb": "peak CUDA, MB",
        "cost/peak_cuda_reserved_mb": "reserved, MB",
        "cost/train_seconds": "train, s",
        "cost/examples_per_second": "texts/s",
        "cost/model_flops_utilisation": "MFU",
        "cost/cache_seconds": "once, s",
        "cost/artifact_mb": "model, MB",
    }
    shown = [[line["strategy"], *(_cost(name, line["found"]) for name in names)] for line in _found(lines, "trainings")]
    table = _table(["strategy", *names.values()], shown)
    return table and "Real trainings, as their runs record them:\n\n" + table


def evaluation_table(lines: list[dict[str, Any]]) -> str:
    """Texts a second of every system's predictions."""
    found: dict[str, dict[str, dict[str, float]]] = defaultdict(dict)
    for line in _found(lines, "evaluation"):
        found[line["shape"]][line["system"]] = line["found"]
    systems = ("ours", "ours in a test", "B", "A")
    rows = []
    for shape, by_system in found.items():
        speeds = [f"{by_system[name]['texts_per_second']:,.0f}" if name in by_system else "" for name in systems]
        firsts = [f"{by_system[name]['first_seconds']:.2f}" if name in by_system else "-" for name in systems]
        rows.append([shape, *speeds, " / ".join(firsts)])
    table = _table(["encoder", *(f"{name}, texts/s" for name in systems), "the first time, s"], rows)
    return table and "Predicting:\n\n" + table


def compile_table(lines: list[dict[str, Any]]) -> str:
    """Steps with layers by torch.compile, and what the first ones took beyond the others."""
    rows = [
        [line["batch_size"], line["how"], f"{line['found']['ms']:.2f}", _first_visits(line["found"])]
        for line in _found(lines, "compile")
    ]
    table = _table(["batch", "layers compiled", "ms", "first visits, s"], rows)
    return table and "torch.compile, bert-base full:\n\n" + table


def probe_tables(lines: list[dict[str, Any]]) -> str:
    """The probe's answers, as they were found."""
    return "\n".join(f"- {line['name']}: {json.dumps(line['found'])[:1500]}" for line in _found(lines, "probe"))


def failures(lines: list[dict[str, Any]]) -> str:
    """What failed, and what was left out, a line for each section and reason."""
    failed = [f"- {line['section']}: {line['name']}: {line['error']}" for line in lines if "error" in line]
    skipped: dict[tuple[str, str], list[str]] = defaultdict(list)
    for line in lines:
        if "skipped" in line:
            skipped[line["section"], line["skipped"]].append(line["name"])
    left_out = [f"- {section}: {reason} for {', '.join(names)}" for (section, reason), names in skipped.items()]
    return "\n".join(failed + left_out)


_DRAWN = {
    "A": ("A: Trainer, padded to 128, float32", "#c9c9c9"),
    "B": ("B: Trainer, padded per batch, bf16", "#6f8fb0"),
    "eager": ("ours without CUDA graphs", "#f0b98d"),
    "ours": ("ours", "#d1701d"),
}
"""System -> its words and its colour."""
_LEGEND_INCHES = 2.8
"""Width of the longest of these words, with its patch."""


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Milliseconds a step, and memory, of every system in every setting; what is not steady is an outline."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    has_memory = any("allocated_mb" in row.get("ours", {}) for row in rows)
    width = max(6.0, 1.5 * len(rows))
    figure = Figure(figsize=(width, 4.2 * (1 + has_memory)), layout="constrained")
    panels = figure.subplots(1 + has_memory, 1, squeeze=False)[:, 0]
    names = [f"{row['shape']}\n{row['strategy']}, {row['batch_size']}" for row in rows]
    kinds = (("ms", "milliseconds a step (log)"), ("allocated_mb", "peak MB allocated (log)"))
    for panel, (name, label) in zip(panels, kinds, strict=False):
        for position, row in enumerate(rows):
            there = [system for system in _DRAWN if row.get(system, {}).get(name)]
            for number, system in enumerate(there):
                color, at = _DRAWN[system][1], position + 0.22 * (number - (len(there) - 1) / 2)
                value, steady = row[system][name], name != "ms" or row[system]["steady"]
                style = {"color": color} if steady else {"facecolor": "none", "edgecolor": color, "linestyle": "--"}
                panel.bar(at, value, 0.2, **style)
                shown = (f"{value:,.0f}" if value >= 100 else f"{value:.3g}") + ("" if steady else "?")
                panel.annotate(shown, (at, value), (0, 2), textcoords="offset points", ha="center", fontsize=6.5)
        panel.set_yscale("log")
        panel.margins(y=0.12)
        panel.set_ylabel(label)
        panel.set_xticks(range(len(rows)), names, fontsize=8)
        panel.tick_params(axis="x", length=0)
        panel.spines[["top", "right"]].set_visible(False)
    shown = [system for system in _DRAWN if any(system in row for row in rows)]
    handles = [Patch(color=color, label=words) for words, color in (_DRAWN[system] for system in shown)]
    if any(not row[system]["steady"] for row in rows for system in shown if system in row):
        handles.append(Patch(facecolor="none", edgecolor="#6f6f6f", linestyle="--", label="not steady"))
    figure.legend(handles=handles, loc="outside upper center", ncols=int(width / _LEGEND_INCHES), frameon=False, fontsize=9)
    figure.savefig(path, dpi=110)
