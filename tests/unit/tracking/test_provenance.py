"""What a run says it was made with."""

import sys

from pipeline.tracking.provenance import environment


def test_the_command_is_recorded_without_passwords(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["pipeline", "tune", "--storage", "postgresql://me:secret@host/searches", "--trials", "3"])
    found = environment()
    assert found["command"] == ["pipeline", "tune", "--storage", "postgresql://...@host/searches", "--trials", "3"]
    assert found["packages"]["torch"] != "not installed"
