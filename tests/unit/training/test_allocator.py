"""What glibc does with freed memory, each case in a process of its own: the setting lasts as long as it does."""

import os
import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.training.memory import allocator

SCRIPT = """
import ctypes, sys
from pathlib import Path
from pipeline.training.memory import allocator

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]

def faults():
    return int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[7])

def take_and_free():
    blocks = [libc.malloc(24 * 2**20) for _ in range(5)]
    for block in blocks:
        ctypes.memset(block, 1, 24 * 2**20)
    for block in blocks:
        libc.free(block)

for name in sys.argv[1:]:
    getattr(allocator, name)()
take_and_free(), take_and_free()
before = faults()
take_and_free()
print(faults() - before)
"""
PAGES = 5 * 24 // 2  # where the system hands out pages of 2 MB; otherwise 512 times as many

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc")


def count_faults(*calls, **environment):
    """Pages that the system hands out for 120 MB that were taken, and freed, twice before."""
    paths = {"PYTHONPATH": str(Path(__file__).parents[3]), **environment}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", SCRIPT, *calls]
    return int(subprocess.run(command, env={**kept, **paths}, check=True, capture_output=True, text=True).stdout)


def test_what_is_freed_is_kept_for_the_next_block():
    assert count_faults() > PAGES / 2, "glibc's own setting: nothing would be gained"
    assert count_faults("keep_what_is_freed") < PAGES / 4


@pytest.mark.parametrize(
    "calls",
    [
        ["give_back_what_is_freed"],
        ["keep_what_is_freed", "give_back_what_is_freed"],
        ["give_back_what_is_freed", "keep_what_is_freed"],  # a test after a training with --auto-batch
    ],
    ids="-then-".join,
)
def test_a_process_that_gives_back_does_so_for_good(calls):
    assert count_faults(*calls) > PAGES / 2


@pytest.mark.parametrize("name", ["MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"])
def test_what_the_environment_says_holds(name):
    assert count_faults("keep_what_is_freed", **{name: "1048576"}) > PAGES / 2


@pytest.mark.parametrize(
    ("most", "taken"),
    [
        (2**30, [("mmap", 2**30), ("trim", 2**30)]),
        (2**25, [("mmap", 2**25), ("trim", 2**30)]),
        (0, []),  # the trim threshold alone would end glibc's own adapting
    ],
    ids=["new", "older", "refuses"],
)
def test_an_older_glibc_is_given_what_it_takes(monkeypatch, most, taken):
    found = []

    def mallopt(parameter, value):
        name = {-3: "mmap", -1: "trim"}[parameter]
        if name == "mmap" and value > most:
            return 0
        found.append((name, value))
        return 1

    for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(allocator._Setting, "gives_back", False)
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda _: SimpleNamespace(mallopt=mallopt))
    allocator.keep_what_is_freed()
    assert found == taken
