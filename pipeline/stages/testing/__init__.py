"""Tests of a trained model, on its own test data and on other data."""
