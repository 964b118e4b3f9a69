"""Rounds of retrying: failed rows are taken up again, the others are left alone."""

from dataclasses import replace
from pathlib import Path

import pytest

from curation.phase_work import PhaseError, PhaseReport
from curation.retry import RetryRound
from pipeline.reasons import Reason
from pipeline.storage import StorageError, listing
from tests.curation import made_run
from tests.curation.made_run import ALL, InProcess, curation, final_rows, run, table

FAILS = "http://made/dns/1"


@pytest.fixture
def failed(tmp_path: Path) -> Path:
    """A run that has ended, with an address that failed."""
    run(tmp_path)
    return tmp_path


@pytest.fixture
def healed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The address that failed shows a person from now on; which addresses are asked for."""
    asked: list[str] = []
    fetched = made_run._fetched

    def answer(url: str) -> bytes | Reason:
        asked.append(url)
        return fetched("http://made/person/77" if url == FAILS else url)

    monkeypatch.setattr(made_run, "_fetched", answer)
    return asked


def retry(
    out: Path, runner: InProcess | None = None, phases: frozenset[str] = ALL, again: bool = True
) -> dict[str, PhaseReport]:
    made = replace(curation(out, runner=runner, phases=phases), retry_failed=again)
    return {report.phase: report for report in made.run()}


def test_only_rows_that_failed_are_asked_for_again(failed: Path, healed: list[str]) -> None:
    reports = retry(failed)
    assert healed == [FAILS]
    assert reports["harvest"].note == "retried the failed rows of 1 units: 1 more are kept"
    assert reports["harvest"].line.counts.failed == {}


def test_a_retried_run_leaves_what_a_run_without_faults_leaves(
    failed: Path, healed: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    retried = final_rows(retry(failed))
    whole = final_rows(run(tmp_path_factory.mktemp("whole")))
    assert retried == whole


def test_captions_of_the_others_are_taken_over(failed: Path, healed: list[str]) -> None:
    assert retry(failed)["annotate"].note == "captions written 2, taken over 22"


def test_a_row_that_fails_again_fails_with_todays_reason(
    failed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(made_run, "_fetched", lambda url: Reason.CONNECT_FAILED)
    assert retry(failed)["harvest"].line.counts.failed == {"connect_failed": 1}


@pytest.mark.parametrize("stop_after", range(4))
def test_a_retry_that_is_stopped_goes_on_with_or_without_the_option(
    failed: Path, healed: list[str], stop_after: int
) -> None:
    with pytest.raises(KeyboardInterrupt):
        retry(failed, InProcess(stop_after=stop_after))
    reports = retry(failed, again=stop_after % 2 == 0)
    assert healed == [FAILS]
    assert RetryRound.of(reports["harvest"].folder) == RetryRound(1, "ended")
    urls = table(reports["harvest"].folder, "urls", reports["harvest"].units).to_pylist()
    assert [row["status"] for row in urls if row["url"] == FAILS] == ["kept"]


def test_after_a_round_the_same_recipe_does_nothing(failed: Path, healed: list[str]) -> None:
    first = retry(failed)
    again = InProcess()
    assert final_rows(retry(failed, again, again=False)) == final_rows(first)
    assert again.ran == []


def test_where_nothing_failed_no_round_is_begun_and_that_is_said(failed: Path, healed: list[str]) -> None:
    retry(failed)
    said: list[str] = []
    again = InProcess()
    made = replace(curation(failed, runner=again), retry_failed=True, notice=said.append)
    harvest, *_ = made.run()
    assert (said, again.ran) == (["nothing to retry: nothing failed that could do better"], [])
    assert RetryRound.of(harvest.folder) == RetryRound(1, "ended")


def test_other_phases_wait_for_a_round_that_is_under_way(failed: Path, healed: list[str]) -> None:
    with pytest.raises(KeyboardInterrupt):
        retry(failed, InProcess(stop_after=0))
    with pytest.raises(PhaseError, match="failed rows are being retried; run --phase harvest first"):
        retry(failed, phases=frozenset({"annotate"}), again=False)


def test_files_that_a_round_replaced_are_gone(failed: Path, healed: list[str]) -> None:
    folder = retry(failed)["harvest"].folder
    names = [path.name for path in listing(folder.path / "urls" / "000", ".parquet")]
    assert [name for name in names if name.startswith("unit-000000")] == ["unit-000000-00-round-1.parquet"]


def test_a_unit_that_is_fetched_again_is_decided_again(failed: Path, healed: list[str]) -> None:
    harvest = retry(failed, again=False)["harvest"].folder
    harvest.parts("urls", 0)[0].write_bytes(b"PAR1")
    reports = retry(failed, again=False)
    assert reports["harvest"].line.counts.failed == {}
    assert len(final_rows(reports)["shards"]) == len(final_rows(reports)["pairs"]) == 12


def test_a_round_that_cannot_be_read_is_said_and_not_forgotten(failed: Path, healed: list[str]) -> None:
    harvest = retry(failed)["harvest"].folder
    (harvest.path / "retry.json").write_bytes(b"")
    with pytest.raises(StorageError, match=r"retry\.json: not JSON"):
        retry(failed, again=False)


def test_a_round_ends_with_the_last_phase_that_works(failed: Path, healed: list[str]) -> None:
    reports = retry(failed, phases=frozenset({"harvest", "annotate"}))
    assert RetryRound.of(reports["harvest"].folder) == RetryRound(1, "ended")


def test_packing_alone_begins_no_round(failed: Path, healed: list[str]) -> None:
    reports = retry(failed, phases=frozenset({"pack"}))
    assert RetryRound.of(reports["harvest"].folder) == RetryRound()
    assert healed == []


def test_a_round_that_changes_nothing_makes_neither_captions_nor_shards_anew(
    failed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(made_run, "_fetched", lambda url: Reason.DNS_FAILED)
    first, again = retry(failed), retry(failed)
    assert RetryRound.of(again["harvest"].folder).number == 2
    for phase in ("decide", "annotate", "pack"):
        assert again[phase].folder.path == first[phase].folder.path
        assert again[phase].done_before == again[phase].units
