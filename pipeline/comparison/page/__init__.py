"""The report: one HTML file that opens from disk and fetches nothing, for eyes, keyboards, screen readers and printers."""
