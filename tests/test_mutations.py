"""Damaged files lead to a result or a named error, and `tools.mutate` would notice anything else."""

import functools
import multiprocessing
import os
import time
import warnings

import pytest
import torch

from d2lseg import backbones
from tools import mutate

pytestmark = pytest.mark.slow
COUNT = 1000
QUICK = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"


@pytest.fixture
def bench(tmp_path, tiny_backbone):
    return mutate.Bench(tmp_path)


def test_damaged_files_end_in_a_result_or_a_named_error():
    outcomes = list(mutate.run(range(COUNT)))
    surprises = [o for o in outcomes if o.surprise]
    assert not surprises, "\n".join(f"case {o.seed}, {o.kind} by {o.user}: {o.surprise}" for o in surprises)
    assert {o.seed for o in outcomes} == set(range(COUNT))
    # most damage is noticed, and some is not: every kind of file has both outcomes
    for name, kind in mutate.KINDS.items():
        for user in kind.users:
            results = {o.result for o in outcomes if (o.kind, o.user) == (name, user)}
            assert "result" in results and (user == "doctor" or "ValueError" in results), (
                name,
                user,
                results,
            )


def test_the_tiny_backbone_is_built_by_the_public_function(bench):
    backbone = backbones.make_backbone(mutate.TINY)
    assert [name for name, _ in backbone.named_children()] == ["stage0", "stage1", "stage2"]
    assert sum(p.numel() for p in backbone.parameters()) < 1000
    assert bench.checkpoint.stat().st_size < 50_000


def test_a_case_is_the_same_again(bench):
    def shown(seed):
        return [(o.kind, o.user, o.result) for o in mutate.case(bench, seed)]

    seeds = range(600, 624)
    assert list(map(shown, seeds)) == list(map(shown, seeds))


def test_a_case_puts_the_good_file_back(bench):
    before = {path: path.read_bytes() for path in bench.folder.rglob("*.*")}
    for seed in range(12):
        list(mutate.case(bench, seed))
    assert {path: path.read_bytes() for path in bench.folder.rglob("*.*")} == before


@pytest.mark.parametrize("name", mutate.KINDS)
def test_every_way_of_damage_changes_most_files(bench, name):
    good = (bench.folder / mutate.KINDS[name].path).read_bytes()
    for way in mutate.KINDS[name].ways:
        made = [way(mutate.random.Random(seed), good) for seed in range(20)]
        assert len(set(made) - {good}) >= 8, way.__name__


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (KeyError("state"), "KeyError"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), "UnicodeDecodeError"),
        (MemoryError(), "MemoryError"),
        (ValueError("something is wrong"), "names no file"),
    ],
)
def test_any_other_outcome_is_a_surprise(bench, monkeypatch, error, words):
    def broken(path):
        raise error

    monkeypatch.setitem(bench.readers, "load", broken)
    (outcome,) = mutate.case(bench, 5)
    assert outcome.kind == "checkpoint" and words in outcome.surprise


def test_a_case_that_computes_for_too_long_is_a_surprise(bench, monkeypatch):
    monkeypatch.setattr(mutate, "LIMIT", 1e-9)
    (outcome,) = mutate.case(bench, 5)
    assert outcome.surprise == "took 0 s"


def test_an_error_that_names_the_file_is_no_surprise(bench, monkeypatch):
    def refuse(path):
        raise ValueError(f"{path}: broken")

    monkeypatch.setitem(bench.readers, "load", refuse)
    (outcome,) = mutate.case(bench, 5)
    assert (outcome.result, outcome.surprise) == ("ValueError", "")


def ill(seeds, pipe, memory, how):
    """Replace the process: case 2 goes wrong, the others go well."""
    pipe.send(None)
    for seed in seeds:
        if seed == 2:
            time.sleep(60) if how == "hang" else os._exit(7)
        pipe.send((seed, [mutate.Outcome(seed, "list", "dataset", "result")]))


@pytest.mark.parametrize("how", ["hang", "crash"])
def test_a_hang_and_a_crash_are_noticed_and_the_other_cases_run(monkeypatch, how):
    monkeypatch.setattr(mutate, "LIMIT", 0.5)  # six times that on the clock is a hang
    outcomes = list(mutate.run(range(4), work=functools.partial(ill, how=how), method=QUICK))
    assert [(o.seed, o.result) for o in outcomes] == [(0, "result"), (1, "result"), (2, how), (3, "result")]
    assert [bool(o.surprise) for o in outcomes] == [False, False, True, False]


def never(seeds, pipe, memory):
    """Replace the process by one that ends at once."""


def test_a_process_that_cannot_start_is_named():
    with pytest.raises(RuntimeError, match="did not start"):
        list(mutate.run([0], work=never, method=QUICK))


class Pipe(list):
    send = list.append


@pytest.mark.parametrize(("limit", "words"), [(2**20, "used 1.0 GiB"), (2**31, "")])
def test_what_takes_too_much_memory_is_a_surprise(bench, monkeypatch, limit, words):
    used, pipe, threads = iter([0, 0, 2**30]), Pipe(), torch.get_num_threads()
    monkeypatch.setattr(mutate.machine, "peak_memory", lambda: next(used))
    with warnings.catch_warnings():
        mutate._work([5, 11], pipe, limit)
    torch.set_num_threads(threads)
    assert pipe[0] is None
    assert [(seed, outcomes[0].surprise) for seed, outcomes in pipe[1:]] == [(5, ""), (11, words)]


def test_the_table_counts_what_came_out():
    outcomes = [
        mutate.Outcome(0, "list", "dataset", "result", seconds=0.25),
        mutate.Outcome(6, "list", "dataset", "ValueError"),
        mutate.Outcome(12, "list", "dataset", "KeyError", "a surprise"),
    ]
    assert mutate.table(outcomes).splitlines() == [
        "| damaged | read by | result | KeyError | ValueError | surprises | longest |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        "| list | dataset | 1 | 1 | 1 | 1 | 0.25 s |",
    ]


def test_the_command_prints_table_and_surprises(monkeypatch, capsys):
    found = [mutate.Outcome(7, "PNG", "predict", "KeyError", "Traceback ...")]
    monkeypatch.setattr(mutate, "run", lambda seeds: iter(found))
    assert mutate.main(["--only", "7"]) == 1
    printed = capsys.readouterr().out
    assert "surprise: case 7, PNG read by predict: KeyError\nTraceback ..." in printed
    assert "| PNG | predict | 0 | 1 | 1 | 0.00 s |" in printed and "1 cases" in printed
    found[:] = [mutate.Outcome(7, "PNG", "predict", "result")]
    assert mutate.main(["--count", "1"]) == 0
