"""Bytes of a file to a table of cells: encodings, delimiters, JSON, Parquet."""
