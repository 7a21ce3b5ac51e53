"""A coverage-guided fuzzer over whatever the project reads: data, recipes, options, models, records of its own.

`python -m tests.fuzz --help`. `reader.py` says what is promised of any content; `readers/` declares what is read, and by what.
"""
