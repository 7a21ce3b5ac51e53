"""Labelled text: where it comes from, how it is cleaned, cut, fingerprinted, tokenised and batched."""
