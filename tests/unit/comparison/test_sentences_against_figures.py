"""No sentence of a comparison is denied by its own figures: every sentence on random studies, held against the CSV files."""

import itertools
import re
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from random_studies import Study, studies

from pipeline.evaluation.statistics import bootstrap

LIST = r"(?:\w+(?:, \w+)*(?: and \w+)?|\d+ others|\d+ rows)"
NUMBER = r"-?\d[\d.,]*"
LEAD = rf"({NUMBER})(?: points)? \(({NUMBER}) to ({NUMBER})\)"
METRIC = r"(?:macro F1|MCC|NLL)"
SCORE = rf"\({METRIC} [^()]*\)"
Check = Callable[[Study, re.Match[str]], None]


def names_of(listed: str) -> list[str]:
    return re.split(r", | and ", listed)


def holds_lead(study: Study, line: pd.Series, value: str, low: str, high: str) -> None:
    """What is printed is of the file, in points but of NLL, and no bound is printed on the other side of 0, or on it."""
    found = line[["lead", "lead_low", "lead_high"]].astype(float) * (1 if study.metric.name == "nll" else 100)
    for printed, exact in zip((value, low, high), found, strict=True):
        decimals = len(printed.partition(".")[2])
        assert float(printed) == pytest.approx(exact, abs=0.51 * 10**-decimals)
        assert np.sign(float(printed)) == np.sign(exact) or abs(exact) < 1e-4


def holds_score(study: Study, names: Sequence[str], score: str) -> None:
    """The score and its intervals are those of the file."""
    lines, metric = study.summary.loc[list(names)], study.metric
    value = float(re.search(rf"{metric.label} ({NUMBER})", score).group(1).rstrip(","))  # type: ignore[union-attr]
    if " of " not in score:  # all seeds have predictions
        assert value == pytest.approx(lines[metric.name].iloc[0], abs=0.00051)
        assert lines[metric.name].round(4).nunique() == 1
    printed = [(float(low), float(high)) for low, high in re.findall(r"(-?\d+\.\d+) to (-?\d+\.\d+)", score)]
    exact = list(lines[[f"{metric.name}_low", f"{metric.name}_high"]].itertuples(index=False, name=None))
    if len(names) <= 6:
        for low, high in exact:
            assert any(low == pytest.approx(a, abs=0.00051) and high == pytest.approx(b, abs=0.00051) for a, b in printed)


def ranked_rows(study: Study) -> list[str]:
    """Rows that have predictions and are not said not to have learned."""
    apart = {study.summary.index[number] for number in study.verdict.unlearned}
    has = study.summary["f1_macro_low"].notna() if "f1_macro_low" in study.summary else study.summary["f1_macro"] < 0
    return [name for name in study.summary.index if has[name] and name not in apart]


def top_of(study: Study) -> str:
    assert study.verdict.top is not None
    return str(study.summary.index[study.verdict.top])


def only_row(study: Study, found: re.Match[str]) -> None:
    assert ranked_rows(study) == [found[1]]
    holds_score(study, [found[1]], found[2])
    assert bool(found[3]) == (len(study.summary) > 1)


def ahead_of_all(study: Study, found: re.Match[str]) -> None:
    others = [name for name in study.summary.index if name != found[1]]
    assert others
    assert all(study.better(found[1], other) == found[1] for other in others)
    holds_score(study, [found[1]], found[2])


def highest(study: Study, found: re.Match[str]) -> None:
    listed, verb, of_learned, by_read, score = found.groups()
    if listed.endswith("rows"):
        return
    names = names_of(listed)
    assert (verb == "share") == (len(names) > 1)
    assert names[0] == top_of(study)
    assert f" the {'lowest' if study.metric.name == 'nll' else 'highest'} score" in found[0]
    holds_score(study, names, score)
    learned = [name for name in study.summary.index if study.summary.index.get_loc(name) not in study.verdict.unlearned]
    rivals = study.summary.loc[learned if of_learned else study.summary.index, study.metric.name].round(4)
    if not by_read:
        complete = [name for name in names if not has_gaps(study, name)]
        best = rivals.min() if study.metric.name == "nll" else rivals.max()
        assert all(rivals[name] == best for name in complete)


def has_gaps(study: Study, name: str) -> bool:
    return any(line.startswith(f"{name}: the table's scores are means over") for line in study.said)


def not_told_apart(study: Study, found: re.Match[str]) -> None:
    assert found[1] in (None, top_of(study))
    if not found[2].endswith("others"):
        for name in names_of(found[2]):
            pair = study.pair(top_of(study), name)
            assert pair is not None
            assert not pair["different"]


def behind(study: Study, found: re.Match[str]) -> None:
    top = top_of(study)
    worse = [name for name in study.summary.index if name != top and study.better(top, name) == top]
    worse = [name for name in worse if name in ranked_rows(study)]
    if found[1].endswith("others"):
        assert found[1] == f"{len(worse)} others"
        return
    names = names_of(found[1])
    assert sorted(names) == sorted(worse)
    assert (found[2] == "is") == (len(names) == 1)
    holds_lead(study, study.pair(top, (found[3] or names[0]).strip()), *found.groups()[3:])


def better_somewhere(study: Study, found: re.Match[str]) -> None:
    assert all(study.better(top_of(study), name) == name for name in names_of(found[1]))


def against_interval(study: Study, found: re.Match[str]) -> None:
    for name, *points in re.findall(rf"over (\w+), {LEAD}", found[0]):
        line = study.pair(found[1], name)
        holds_lead(study, line, *points)
        holds = line["lead_low"] <= 0 <= line["lead_high"]
        assert found[2] == ("holds 0" if holds else "leaves out 0")
        assert bool(line["different"]) == holds
        assert line["interval_overruled_by"].split()[0] in found[3]


def did_not_learn(study: Study, found: re.Match[str]) -> None:
    names = names_of(found[1])
    if found[1].endswith("rows"):
        names = study.summary.index[study.summary["learned"] == "no"].tolist()
        assert found[1] == f"{len(names)} rows"
    for line in study.summary.loc[names].itertuples():
        assert line.learned == "no"
        assert line.accuracy_low <= study.majority
        assert line.f1_macro_low <= 1 / 2
    assert float(found["share"]) == pytest.approx(study.majority, abs=0.00051)
    if found["value"]:
        row = study.summary.loc[names[0]]
        exact = [row["accuracy_low"], row["accuracy_high"]]
        assert [float(found["low"]), float(found["high"])] == pytest.approx(exact, abs=0.00051)


def some_seeds_did_not_learn(study: Study, found: re.Match[str]) -> None:
    unlearned, judged, name = int(found[1]), int(found[2]), found[3]
    assert study.summary.loc[name, "learned"] == f"{judged - unlearned} of {judged} seeds"
    assert 0 < unlearned < judged <= study.summary.loc[name, "seeds"]


def nothing_ranked(study: Study, _: re.Match[str]) -> None:
    assert not ranked_rows(study)


def trains(study: Study, found: re.Match[str]) -> None:
    assert float(found[2]) == pytest.approx(study.summary.loc[found[1], "trainable_percent"], rel=0.006)
    if found[3]:
        assert found[1] == top_of(study)
        others = [name for name in study.summary.index if name != found[1] and name in ranked_rows(study)]
        assert all(study.better(found[1], name) == found[1] for name in others)


def train_alike(study: Study, found: re.Match[str]) -> None:
    if not found[1].endswith("rows"):
        shares = study.summary.loc[names_of(found[1]), "trainable_percent"]
        assert len({f"{share:.4g}" for share in shares}) == 1
        assert float(found[2]) == pytest.approx(shares.iloc[0], rel=0.006)


def trains_least(study: Study, found: re.Match[str]) -> None:
    those, who, share, each, instead, whose = found.groups()
    if those.endswith("rows") or who.endswith("rows"):
        return
    shares = study.summary.loc[names_of(those), "trainable_percent"]
    names = names_of(who)
    printed = {name: f"{value:.4g}" for name, value in shares.items()}
    assert {name for name, value in printed.items() if value == f"{shares.min():.4g}"} == set(names)
    assert bool(each) == (len(names) > 1)
    assert float(share) == pytest.approx(shares.min(), rel=0.006)
    if instead:
        assert float(instead) > float(share)
        assert whose == top_of(study)
    allowed = {study.summary.index[number] for number in (study.verdict.top, *study.verdict.ahead, *study.verdict.tied)}
    assert set(names_of(those)) <= allowed


def share_unknown(study: Study, found: re.Match[str]) -> None:
    if "trainable_percent" in study.summary and not found[1].endswith("rows"):
        assert study.summary.loc[names_of(found[1]), "trainable_percent"].isna().all()


def true(study: Study, found: re.Match[str]) -> None:
    """What no figure of the files can deny."""


def one_seed(study: Study, found: re.Match[str]) -> None:
    names = names_of(found[1]) if found[1] and not found[1].endswith("others") else []
    for name in names:
        assert study.summary.loc[name, "seeds"] == 1 or has_gaps(study, name)


def without_predictions(study: Study, found: re.Match[str]) -> None:
    if "f1_macro_low" in study.summary and not found[1].endswith("others"):
        assert study.summary.loc[names_of(found[1]), "f1_macro_low"].isna().all()


def some_without_predictions(study: Study, found: re.Match[str]) -> None:
    assert all(has_gaps(study, name) for name in names_of(found[1]))


def planned(study: Study, found: re.Match[str]) -> None:
    assert found[1] == study.planned


def letters(study: Study, _: re.Match[str]) -> None:
    groups = study.summary["group"]
    for one, other in itertools.combinations([name for name in study.summary.index if groups[name]], 2):
        pair = study.pair(one, other)
        assert bool(set(groups[one]) & set(groups[other])) == (not pair["different"])
        if pair["interval_overruled_by"]:
            assert study.summary.loc[[one, other], "group_mark"].tolist() == ["*", "*"]


def letter_against_interval(study: Study, found: re.Match[str]) -> None:
    line = study.pair(found[1], found[2])
    holds_lead(study, line, *found.groups()[3:6])
    assert found[3] == ("share no letter" if line["different"] else "share a letter")
    assert found[7] == ("holds 0" if line["lead_low"] <= 0 <= line["lead_high"] else "leaves out 0")
    assert line["interval_overruled_by"] in found[0]


def letters_against_intervals(study: Study, found: re.Match[str]) -> None:
    overruled = study.pairs[study.pairs["interval_overruled_by"] != ""]
    kinds = overruled.groupby(["interval_overruled_by", "different"]).size()
    assert int(found[1]) in kinds.tolist()


RULES: Sequence[tuple[str, Check]] = (
    (
        rf"(\w+) ({SCORE}) is the only row((?: with predictions)?(?: that learned.*?)?); there is nothing to compare it with\.",
        only_row,
    ),
    (rf"(\w+) is ahead of all others ({SCORE}): ", ahead_of_all),
    (
        rf"({LIST}) (has|share) the (?:highest|lowest) score( of the rows that learned(?: with enough of its seeds)?)?"
        rf"( by the predictions that could be read)? ({SCORE})(?:, and |; |, but )",
        highest,
    ),
    (rf"no difference (?:to|between (\w+) and) ({LIST}) was shown(?:\.|; )", not_told_apart),
    (rf"({LIST}) (is|are) behind, (\w+ )?by {LEAD}\.", behind),
    (rf"({LIST}) (?:is|are) better on the seeds that both have, so no best one is named\.", better_somewhere),
    (
        r"The 95 % interval of (\w+)'s lead over .*?,(?: and \d+ more)?(?: each)? (leaves out 0|holds 0), but (.*?)\.(?= |$)",
        against_interval,
    ),
    (
        rf"({LIST}) did not learn(?: with any of its \d+ seeds)?: "
        r"(?:its accuracy, (?P<value>[\d.]+) \(95 % interval (?P<low>[\d.]+) to (?P<high>[\d.]+)\), |the accuracy )"
        r"is not shown to be above (?P<share>[\d.]+), that of always answering the most frequent class\.",
        did_not_learn,
    ),
    (
        r"(\d+) of (\d+) seeds of (\w+) did not learn(?:, so its mean is not ranked\.|, and count in its mean)",
        some_seeds_did_not_learn,
    ),
    (r"Nothing can be said of how the strategies rank: .*?\.", nothing_ranked),
    (r"The strategies are not ranked: they were .*?\.", true),
    (r"So none is named that costs less; the tests compare the trained models, not the strategies\.", true),
    (r"So nothing can be said either of what a cheaper strategy would lose\.", nothing_ranked),
    (
        rf"(\w+) trains ({NUMBER}) % of the parameters(, and no other row was shown to be as good as \w+)?(?:\.|; )",
        trains,
    ),
    (rf"({LIST}) train the same share of the parameters, ({NUMBER}) %(?:\.|; )", train_alike),
    (
        rf"Of ({LIST}), which may be the best, ({LIST}) trains? the smallest share of the parameters, ({NUMBER}) %( each)?"
        rf"(?: instead of the ({NUMBER}) % of (\w+))?(?:; that no loss was shown does not mean that there is none)?(?:\.|; )",
        trains_least,
    ),
    (rf"[Ww]hat share (?:of the parameters )?({LIST}) trained is not recorded\.", share_unknown),
    (r"Limits: ", true),
    (
        rf"there is one seed(?: for ({LIST}))?, so this is said of the trained models and not of what another seed would give",
        one_seed,
    ),
    (r"two seeds do not tell how much seeds differ, so small differences may still be chance", true),
    (
        r"[\d,]+ test texts show a difference in (?:macro F1|MCC|NLL|accuracy) of [\d.]+(?: points)? or more .*?, "
        r"a smaller one less often",
        true,
    ),
    (r"[\d,]+ test texts and so few seeds cannot be relied on to show any difference at all", true),
    (r"the interval is that of [\d,]+ test texts of one data set", true),
    (rf"nothing is said of ({LIST}), without predictions", without_predictions),
    (rf"some runs of ({LIST}) have no predictions and are left out here", some_without_predictions),
    (r"\d+ run\(s\) are not in the table, and nothing is said of them", true),
    (r"planned and missing: (.*?)(?=\.$)", planned),
    (r"nothing was measured", true),
    (r"; |\.$", true),
    (rf"Rows that share a letter of group cannot be told apart by {METRIC} .*\)\.$", letters),
    (
        rf"\* (\w+) and (\w+) (share no letter|share a letter) although the 95 % interval of their difference, {LEAD}, "
        r"(leaves out 0|holds 0): .*\.$",
        letter_against_interval,
    ),
    (r"\* (\d+) pairs share (?:no|a) letter although .*\.$", letters_against_intervals),
    (r"No interval and no group from \w+ \(run \w+\): gone\.$", true),
    (r"\w+: the table's scores are means over \d+ seeds; .* whose predictions could be read\.$", true),
    (
        r"(?:\d+ of \d+ seeds of )?\w+ did not learn(?: with any of its \d+ seeds)?(?::.*)?\. "
        r"Another learning rate may help\.$",
        true,
    ),
    (r"(?:\d+ of \d+ seeds of )?\w+ did not learn.* the classes may be swapped\.$", true),
)


def check_sentence(study: Study, sentence: str) -> None:
    """Take the sentence apart; each part is held against the files."""
    rest = re.sub(
        r"^No difference was shown between (\w+|.*?), which (has|share) (.*?\)), and (.*?)\.(?= |$)", _turned, sentence
    )
    while rest.strip():
        rest = rest.lstrip()
        for rule, check in RULES:
            if found := re.match(rule, rest):
                check(study, found)
                rest = rest[found.end() :]
                break
        else:
            pytest.fail(f"nothing checks {rest!r} of {sentence!r}")


def _turned(found: re.Match[str]) -> str:
    """Its clauses in the order in which others have them."""
    return f"{found[1]} {found[2]} {found[3]}, and no difference to {found[4]} was shown."


@pytest.fixture(scope="module", autouse=True)
def few_resamples() -> Iterator[None]:
    """Whether a sentence says what the figures say does not hang on how exact these are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bootstrap, "RESAMPLES", 300)
        patch.setattr(bootstrap, "FEWEST_RESAMPLES", 300)
        patch.setattr(bootstrap, "MOST_SORTED", 0)
        yield


# A study is many draws, so shrinking one takes minutes; what fails is printed whole.
random_studies = settings(
    max_examples=60,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)


@random_studies
@given(studies())
def test_no_sentence_is_denied_by_the_files(study: Study) -> None:
    for sentence in study.said:
        check_sentence(study, sentence)
    assert len(study.verdict.sentences) == 3


@random_studies
@given(studies())
def test_what_the_files_show_is_said(study: Study) -> None:
    rank, cost, _ = study.verdict.sentences
    learned = study.summary.get("learned", pd.Series("", study.summary.index))
    for name in learned.index[learned == "no"]:
        assert re.search(rf"\b{name}\b", rank), "what did not learn is named"
        assert name not in [study.summary.index[number] for number in (*study.verdict.behind, *study.verdict.tied)]
        assert not re.search(rf"\b{name}\b", cost)
    if study.verdict.top is None:
        return
    top = top_of(study)
    for number in study.verdict.tied:
        line = study.pair(top, study.summary.index[number])
        if not line["lead_low"] <= 0 <= line["lead_high"]:
            assert "leaves out 0, but" in rank, "a tie against its interval"
    for line in study.pairs.itertuples():
        low, high = (getattr(line, f"{study.metric.name}_{end}") for end in ("low", "high"))
        assert bool(line.interval_overruled_by) == (line.different == (low <= 0 <= high))
        if line.better:
            assert study.pair(line.better, line.first if line.better == line.second else line.second)["lead"] > 0
    for line in study.pareto.itertuples():
        if line.on_front:
            assert learned[line.row] != "no"
        for name in filter(None, line.dominated_by.split("; ")):
            rival = study.pareto[(study.pareto["cost"] == line.cost) & (study.pareto["row"] == name)].iloc[0]
            assert rival["value"] <= line.value
            assert study.better(line.row, name) == name
