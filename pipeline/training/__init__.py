"""Trains a model: the loop and its parts, what it costs, and the model folder it leaves."""
