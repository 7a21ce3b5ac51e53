"""The report as one HTML file that opens from disk and fetches nothing, for eyes, keyboards, screen readers and printers."""
