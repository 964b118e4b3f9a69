"""`webperson demo`, run as a newcomer runs it."""

import json
import re
import socket
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline.reasons import Reason
from pipeline.records import content_hash
from pipeline.shards import SPLITS
from tests.chain.conftest import Demo
from tests.chain.tables import phase_folder, row_hashes, table
from training.checkpoint import load_model
from training.data import load_split

pytestmark = [pytest.mark.chain, pytest.mark.timeout(600)]
PHASES = ("harvest", "decide", "annotate", "pack")
GATES = (
    Reason.LOW_SCORE,
    Reason.SHORT_SIDE,
    Reason.ASPECT_RATIO,
    Reason.FEW_KEYPOINTS,
    Reason.NO_HIP,
    Reason.NO_HEAD,
)


def test_the_funnel_has_a_line_for_each_phase_and_adds_up(demo: Demo) -> None:
    for phase in PHASES:
        line = re.search(
            rf"^{phase} +(\d+) \w+ = (\d+) kept \+ (\d+) rejected.* \+ (\d+) failed",
            demo.command.output,
            re.M,
        )
        assert line, f"no line for {phase} in:\n{demo.command.output}"
        rows_in, kept, rejected, failed = map(int, line.groups())
        assert rows_in == kept + rejected + failed


def test_every_url_of_the_list_is_a_row_of_urls(demo: Demo) -> None:
    urls = (demo.out / "urls.txt").read_text().split("\n")[:-1]
    assert len(urls) >= 230  # 150 made pictures, 32 photographs, and what goes wrong
    assert table(demo.out, "harvest", "urls")["url"].to_pylist() == urls


def test_every_url_becomes_what_the_small_web_knows_it_must(demo: Demo) -> None:
    entries = demo.web().entries
    rows = table(demo.out, "harvest", "urls").to_pylist()
    wrong = [
        (entry.kind, row["reason"], row["error"])
        for entry, row in zip(entries, rows, strict=True)
        if row["reason"] not in entry.expected
    ]
    assert wrong == []


def test_the_same_pixels_are_kept_once(demo: Demo) -> None:
    decisions = pq.read_table(phase_folder(demo.out, "decide") / "decisions.parquet").to_pylist()
    crops = {
        (row["unit"], row["row"], row["person"]): row["crop_sha256"]
        for row in table(demo.out, "harvest", "persons")
        .select(["unit", "row", "person", "crop_sha256"])
        .to_pylist()
    }
    kept = [crops[d["unit"], d["row"], d["person"]] for d in decisions if d["reason"] is None]
    assert len(set(kept)) == len(kept)
    dropped = [d for d in decisions if d["reason"] == Reason.EXACT_DUPLICATE]
    assert dropped
    staying = {(d["unit"], d["row"], d["person"]) for d in decisions if d["reason"] is None}
    for d in dropped:
        key, stays = (d["unit"], d["row"], d["person"]), (d["kept_unit"], d["kept_row"], d["kept_person"])
        # A copy of a near duplicate names whom that one names.
        assert crops[key] in [crops[other] for other in crops if other < key]
        assert stays in staying
        assert stays < key


def test_each_captioned_person_has_two_captions_that_name_the_stand_in(demo: Demo) -> None:
    """Whose colours cannot be told has none."""
    rows = table(demo.out, "annotate", "pairs").to_pylist()
    assert {row["reason"] for row in rows} <= {None, Reason.CAPTION_EMPTY}
    for row in rows:
        if row["reason"]:
            continue
        first, second = row["captions"]
        assert first["template_id"] != second["template_id"]
        assert first["text"] != second["text"]
        for caption in (first, second):
            assert caption["text"]
            assert "stand-in" in caption["model_id"]


def test_the_shards_hold_exactly_the_kept_pairs(demo: Demo) -> None:
    pairs = table(demo.out, "annotate", "pairs").to_pylist()
    kept = {f"{p['unit']:06d}-{p['row']:05d}-{p['person']:02d}" for p in pairs if p["status"] == "kept"}
    shards = sorted(phase_folder(demo.out, "pack").glob("webperson-*.parquet"))
    assert {key for path in shards for key in pq.read_table(path)["key"].to_pylist()} == kept


def test_datasets_shows_pictures_and_captions(demo: Demo, tmp_path: Path) -> None:
    import datasets

    files = [str(path) for path in sorted(phase_folder(demo.out, "pack").glob("webperson-*.parquet"))]
    rows = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path))
    assert isinstance(rows[0]["image"], Image.Image)
    assert rows[0]["image"].size[0] > 90
    assert len(rows[0]["captions"]) == 2


def test_the_outputs_carry_recipe_versions_and_revision(demo: Demo) -> None:
    for phase in PHASES:
        if phase == "decide":
            continue
        trace = json.loads((phase_folder(demo.out, phase) / "phase.json").read_text())
        assert trace["schema_version"] >= 1
        assert trace["recipe"]["harvest"]["unit_rows"] == 32
        assert trace["packages"]["torch"]
        assert trace["source_revision"]
    shard = sorted(phase_folder(demo.out, "pack").glob("webperson-*.parquet"))[0]
    metadata = pq.read_schema(shard).metadata
    assert metadata[b"recipe_hash"].decode() == trace["recipe_hash"]


def test_no_identity_stands_in_two_splits_and_every_one_is_known(demo: Demo) -> None:
    for captions in ("true", "permuted"):
        (folder,) = demo.out.glob(f"shards-{captions}-*")
        splits = [load_split(folder, split) for split in SPLITS]
        assert all(split.known_identities == split.pictures for split in splits)
        identities = [set(split.ids.tolist()) for split in splits]
        assert sum(map(len, identities)) == len(set.union(*identities)) >= 30


def test_both_checkpoints_load_and_their_numbers_stand_beside_chance(demo: Demo) -> None:
    trained = [path for path in demo.out.glob("train-*") if path.is_dir()]
    assert len(trained) == 2
    for folder in trained:
        load_model(folder)
        evaluation = json.loads((folder / "evaluation-test.json").read_text())["evaluation"]
        assert 0 < evaluation["gallery"] < evaluation["queries"]
    assert "not a benchmark" in demo.command.output
    for name in ("model", "with permuted captions", "chance"):
        assert re.search(rf"{name} +│", demo.command.output)


def test_people_never_trained_on_are_found_far_above_chance_and_at_chance_with_permuted_captions(
    demo: Demo,
) -> None:
    found = {}
    for captions in ("train", "train-permuted"):
        (folder,) = (
            path for path in demo.out.glob(f"{captions}-*") if path.name.count("-") == captions.count("-") + 1
        )
        found[captions] = json.loads((folder / "evaluation-test.json").read_text())["evaluation"]
    true, permuted = found["train"], found["train-permuted"]
    assert true["metrics"]["r1"] > 2 * true["chance"]["r1"]
    assert true["metrics"]["map"] > 1.7 * true["chance"]["map"]
    assert permuted["metrics"]["map"] < 1.5 * permuted["chance"]["map"]


def test_every_number_against_the_truth_is_printed_and_was_counted(demo: Demo) -> None:
    patterns = [
        r"made pictures, which look like a game and are no photographs",
        r"recall \d+\.\d % of \d{2,} drawn persons",
        r"precision \d+\.\d % of \d{2,} measured persons",
        r"off by \d+\.\d % of the box height on average, \d+\.\d % of \d{3,} within 5 %",
        *(rf"{gate.value} +agrees in \d+\.\d % of \d{{2,}}" for gate in GATES),
        r"upper colour +right [1-9]\d*, wrong \d+, unsaid \d+",
        r"lower colour +right [1-9]\d*, wrong \d+, unsaid \d+",
        r"garments +right 0, wrong 0, unsaid \d{2,}",
    ]
    for pattern in patterns:
        assert re.search(pattern, demo.command.output), pattern


def test_the_chain_agrees_with_the_truth_as_measured(demo: Demo) -> None:
    output = demo.command.output
    assert float(re.search(r"recall (\S+) %", output)[1]) >= 95  # type: ignore[index]
    assert float(re.search(r"precision (\S+) %", output)[1]) >= 95  # type: ignore[index]
    for gate in GATES:
        assert float(re.search(rf"{gate.value} +agrees in (\S+) %", output)[1]) >= 90  # type: ignore[index]
    for clothes in ("upper", "lower"):
        right, wrong = map(int, re.search(rf"{clothes} colour +right (\d+), wrong (\d+)", output).groups())  # type: ignore[union-attr]
        assert right > 3 * wrong


def test_every_planted_duplicate_is_found_and_no_other(demo: Demo) -> None:
    found = re.search(
        r"duplicates found: 100\.0 % of (\d+) planted; 0 others, \d+ near ones dropped", demo.command.output
    )
    assert found
    assert int(found[1]) >= 6


def test_the_report_shows_kept_and_rejected_persons_with_reasons(demo: Demo) -> None:
    html = (demo.out / "report.html").read_text()
    assert html.count("data:image/jpeg;base64,") > 30
    titles = ("Kept by the gates", "Rejected: low_score", "Rejected: exact_duplicate")
    for text in (*titles, "attributes-stand-in"):
        assert text in html
    assert "http://127.0.0.1" not in html.split("<body>")[0]


def test_the_pipeline_connects_to_loopback_only(demo: Demo) -> None:
    ours = {"pipeline", "curation", "training", "world", "prompts", "img2dataset", "ultralytics", "open_clip"}
    seen = [json.loads(line) for line in demo.sockets.read_text().splitlines()]
    addresses = {entry["address"] for entry in seen if entry["package"] in ours}
    assert "127.0.0.1" in addresses
    assert addresses <= {"127.0.0.1", "localhost"}


def test_no_connection_leaves_this_host(demo: Demo) -> None:
    here = {address.address for cards in psutil.net_if_addrs().values() for address in cards}
    here |= {"127.0.0.1", "::1", "0.0.0.0", "localhost", socket.gethostname()}
    seen = [json.loads(line) for line in demo.sockets.read_text().splitlines()]
    assert [entry for entry in seen if entry["address"] not in here and entry["address"][:1] != "/"] == []


def test_the_demo_stays_under_six_gigabytes(demo: Demo) -> None:
    assert 0.2e9 < demo.command.peak_bytes < 6e9


def test_the_files_hold_what_their_done_markers_say(demo: Demo) -> None:
    hashes = row_hashes(demo.out)
    assert len(set(hashes.values())) == 5
    units = len(list(phase_folder(demo.out, "harvest").glob("done/*/unit-*.json")))
    assert units >= 5
    for unit in range(units):
        marker = phase_folder(demo.out, "harvest") / "done" / "000" / f"unit-{unit:06d}.json"
        urls = pq.read_table(
            phase_folder(demo.out, "harvest") / "urls" / "000" / f"unit-{unit:06d}-00.parquet"
        )
        assert json.loads(marker.read_text())["content"]["urls"] == content_hash(urls)
