"""Searches hyperparameters: what may be searched, who proposes the next trial, what it may cost, and pictures of it."""
