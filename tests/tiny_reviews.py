"""Made-up reviews: texts with one telling word each; the words can be learnt from a hundred of them."""

from pathlib import Path

import numpy as np
from tiny_encoders import BAD, GOOD, PLAIN


def write_reviews(path: Path, rows: int, seed: int) -> None:
    """Write a CSV file of them, bad and good in turn."""
    generator = np.random.default_rng(seed)
    lines = ["text,label"]
    for row in range(rows):
        telling, label = ((BAD, "bad"), (GOOD, "good"))[row % 2]
        words = [*generator.choice(PLAIN, generator.integers(3, 9)), generator.choice(telling), f"word{row % 20}"]
        lines.append(f"{' '.join(generator.permutation(words))} {row},{label}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
