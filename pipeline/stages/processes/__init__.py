"""Child processes: one per run, or several for one training."""
