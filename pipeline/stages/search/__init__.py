"""The parts of a search: plan, loop, trial, report."""
