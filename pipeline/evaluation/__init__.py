"""Scores predictions."""
