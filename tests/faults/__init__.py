"""The fault matrix: every stage of the command line, hurt in every declared way, against real processes.

`python -m tests.faults --help`. A case is one stage, one fault and one moment. The command is begun in a workspace of its own
and hurt; the cause is taken away; the same command is given again. `fault.py` says what is promised; `kinds/` holds the faults.
"""
