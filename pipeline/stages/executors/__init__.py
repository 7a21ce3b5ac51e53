"""Executors, one file each: where the trials of a search run."""
