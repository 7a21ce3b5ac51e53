"""Classifiers on top of an encoder: a head is one file here, and its name is the head's."""
