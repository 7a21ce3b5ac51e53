"""Encoder families: what is special about one is one file here. `modeling/family.py` says what a family declares."""
