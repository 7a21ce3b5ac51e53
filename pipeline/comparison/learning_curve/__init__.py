"""Rows of several numbers of labelled texts: their curves, forecasts and pictures."""
