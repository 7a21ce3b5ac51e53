"""Training without an encoder: what a baseline is given, what it learns, and how that is kept."""
