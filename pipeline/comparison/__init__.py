"""Puts runs side by side: which may be compared, the table, its pictures, the report."""
