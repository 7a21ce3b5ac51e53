"""The parts of a study: plan, dry run, resuming, its tags."""
