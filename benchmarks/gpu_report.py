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
        search_table(lines),
        loss_table(lines),
        training_table(lines),
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
    where = f"{about.get('card')}, {about.get('cores')} cores; Python {about.get('python')}, {versions}"
    return f"{where}. Measured: {measured}. Left out: {left_out}."


def step_rows(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row per setting: each system's figures (medians over rounds) and ratios."""
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
            row[system]["rounds_ms"] = [each["ms"] for each in measured]
        if "ours" in systems:
            useful = systems["ours"][0]["flops_per_example"]
            row["once_seconds"] = systems["ours"][0]["cache_seconds"]
            for system in systems:
                if peak:
                    row[system]["mfu"] = useful * row[system]["examples_per_second"] / (peak * 1e12)
                if system != "ours":
                    row[f"{system} / ours"] = row[system]["ms"] / row["ours"]["ms"]
        rows.append(row)
    return rows


def _of(row: dict[str, Any], system: str, name: str, form: str) -> str:
    value = row.get(system, {}).get(name)
    return "" if value is None else format(value, form)


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
                *(_of(row, system, "ms", ".2f") for system in ("A", "B", "ours", "eager")),
                *ratios,
                f"{goal[0]:g} / {goal[1]:g}" if goal else "",
                " / ".join(_of(row, system, "first_visits_seconds", ".1f") for system in ("A", "B", "ours")),
                _of(row, "ours", "examples_per_second", ",.0f"),
                _of(row, "ours", "mfu", ".1%"),
                f"{row.get('once_seconds', 0):.2f}",
            ]
        )
    return _table(columns, shown)


def memory_table(rows: list[dict[str, Any]]) -> str:
    """Peaks of the GPU's memory."""
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


def search_table(lines: list[dict[str, Any]]) -> str:
    """Seconds of the search of heads."""
    seconds: dict[str, float] = defaultdict(float)
    for line in _found(lines, "search"):
        seconds[line["system"]] += line["found"]["train_seconds"]
    ours = next((line["found"] for line in _found(lines, "search") if line["system"] == "ours"), None)
    if not ours:
        return ""
    row = [f"{seconds.get(system, 0):,.1f}" for system in ("A", "B")] + [f"{seconds['ours']:.2f}"]
    row += [f"{seconds.get(system, 0) / seconds['ours']:,.0f}" for system in ("A", "B")]
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
    shown = [
        [line["strategy"], *(f"{line['found'][name]:.4g}" if name in line["found"] else "" for name in names)]
        for line in _found(lines, "trainings")
    ]
    table = _table(["strategy", *names.values()], shown)
    return table and "Real trainings, as their runs record them:\n\n" + table


def probe_tables(lines: list[dict[str, Any]]) -> str:
    """The probe's answers, as they were found."""
    return "\n".join(f"- {line['name']}: {json.dumps(line['found'])[:1500]}" for line in _found(lines, "probe"))


def failures(lines: list[dict[str, Any]]) -> str:
    """What failed or was left out."""
    return "\n".join(
        f"- {line['section']}: {line['name']}: {line.get('error') or line['skipped']}"
        for line in lines
        if "error" in line or "skipped" in line
    )


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Milliseconds a step, and memory, of every system in every setting."""
    from matplotlib.figure import Figure

    has_memory = any("allocated_mb" in row.get("ours", {}) for row in rows)
    figure = Figure(figsize=(11, 4.5 * (1 + has_memory)), layout="constrained")
    panels = figure.subplots(1 + has_memory, 1, squeeze=False)[:, 0]
    names = [f"{row['shape']}\n{row['strategy']}\n{row['batch_size']}" for row in rows]
    for panel, (name, label) in zip(
        panels, (("ms", "milliseconds a step"), ("allocated_mb", "peak MB allocated")), strict=False
    ):
        for offset, (system, color) in enumerate((("A", "#b8b8b8"), ("B", "#6f8fb0"), ("ours", "#d1701d"))):
            values = [row.get(system, {}).get(name) or float("nan") for row in rows]
            panel.bar([x + 0.27 * (offset - 1) for x in range(len(rows))], values, 0.26, color=color, label=system)
        panel.set_yscale("log")
        panel.set_ylabel(label)
        panel.set_xticks(range(len(rows)), names, fontsize=7)
        panel.spines[["top", "right"]].set_visible(False)
        panel.legend(frameon=False)
    figure.savefig(path, dpi=130)
