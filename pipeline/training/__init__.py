"""Trains a model: the loop and its parts, what it costs, and the saved model it leaves."""
