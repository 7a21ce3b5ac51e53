"""Encoder families: what is special about one is one file here. `base` says what a family declares."""
