import unicodedata

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.comparison.table import render_table
from pipeline.errors import DataError, in_one_line, printable
from pipeline.stages.progress import label_lines, say

ORDERS = [
    "\x1b[31m",
    "\x1b]0;title\x07",
    "\x00",
    "\r",
    "\n",
    "\b",
    "\x7f",
    "\x9b2J",
    "\x85",
    "\u202e",
    "\u2066",
    "\u200f",
    "\u2028",
]


@given(st.text())
def test_no_order_is_left_and_nothing_else_is_changed(text: str) -> None:
    shown = printable(text)
    assert not {unicodedata.category(one) for one in shown} & {"Cc", "Cs", "Zl", "Zp"}
    assert not {unicodedata.bidirectional(one) for one in shown} & {
        "LRE",
        "RLE",
        "LRO",
        "RLO",
        "PDF",
        "LRI",
        "RLI",
        "FSI",
        "PDI",
    }
    assert shown.encode("utf-8").decode("utf-8") == shown
    assert printable(shown) == shown
    assert set(shown) <= set(text) | set("\\0123456789abcdefxunrt")


@pytest.mark.parametrize("text", ["한국어 텍스트", "שלום", "مرحبا", "é 🙂 👩‍👩‍👧", "می‌خواهم", "C:\\new", "a b"])
def test_writing_of_any_script_stays(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize("order", ORDERS)
def test_lines_errors_and_tables_give_no_orders(order: str, capsys: pytest.CaptureFixture[str]) -> None:
    say(f"classes good{order}, bad")
    error = DataError(f"column 'te{order}xt' not found", "another mistake")
    say(in_one_line(error))
    columns = ["strategy", "entry", "seeds", "f1_macro", "f1_macro_low", "f1_macro_high"]
    table = pd.DataFrame([["lora", f"my{order}lora", 1, 0.5, 0.4, 0.6], ["full", "full", 1, 0.4, 0.3, 0.5]], columns=columns)
    for text, lines in ((capsys.readouterr().out, 2), (f"{error}\n", 3), (f"{render_table(table)}\n", 4)):
        assert printable(text.replace("\n", "")) == text.replace("\n", "")
        assert text.count("\n") == lines
        assert repr(order)[1:-1] in text


def test_halves_of_surrogate_pairs_can_be_shown() -> None:
    assert printable("caf\udce9") == r"caf\udce9"


def test_lines_of_several_processes_say_whose_they_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FAIRTUNE_LINE_LABEL", "")  # so that it is taken back
    label_lines("full\x1b (seed 43)")
    say("  full: step 3")
    assert capsys.readouterr().out == f"[{printable('full' + chr(27) + ' (seed 43)')}] full: step 3\n"
