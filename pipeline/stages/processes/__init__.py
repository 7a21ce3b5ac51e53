"""Processes of their own: one a run, or several for one training."""
