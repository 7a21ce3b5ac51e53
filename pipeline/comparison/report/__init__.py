"""The report: its sections and blocks, and its renderers to HTML and Markdown."""
