"""Texts that have any number of labels: read, cleaned, counted and split."""
