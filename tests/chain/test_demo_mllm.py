"""`webperson demo --mllm`, run as a newcomer runs it: judged and captioned by tiny MLLMs through real vLLM.

Limits are far from what was measured (world/tiny_mllm/README.md): what is shown is that the chain works.
"""

import json
import re
from pathlib import Path

import psutil
import pytest

from tests.chain.conftest import environment, free_port, start
from tests.chain.tables import table
from tests.chain.vllm_server import needs_vllm

SECONDS = 1500
MODELS = ("tiny-mllm-a", "tiny-mllm-b")
STAND_IN = "attributes-stand-in/1"
pytestmark = [pytest.mark.proof, pytest.mark.chain, pytest.mark.timeout(SECONDS + 60)]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo-mllm") / "out"


@pytest.fixture(scope="module")
def output(out: Path) -> str:
    """What the command printed; it has ended well, and so have its servers."""
    needs_vllm()
    before = servers()
    with start("demo", "--mllm", "--out", str(out), "--port", str(free_port()), env=environment()) as command:
        printed, _ = command.process.communicate(timeout=SECONDS)
        assert command.process.returncode == 0, printed
    assert servers() <= before
    return printed


def servers() -> set[int]:
    """Processes of vLLM on this machine."""
    names = ((process.pid, process.info["name"] or "") for process in psutil.process_iter(["name"]))
    return {pid for pid, name in names if name.startswith("VLLM")}


def test_what_each_captioner_says_stands_one_below_the_other(output: str) -> None:
    for attribute in ("form", "upper colour", "lower colour", "garments"):
        lines = [
            rf"{attribute if not place else '':<12}  +{re.escape(name)} +right \d+, wrong \d+, unsaid \d+"
            for place, name in enumerate((STAND_IN, *MODELS))
        ]
        assert re.search("\n +".join(lines), output), attribute


def test_the_tiny_mllms_name_colours_and_garments_that_are_worn(output: str) -> None:
    for model in MODELS:
        right, wrong, _ = said(output, "lower colour", model)
        assert right > 3 * wrong
        right, wrong, _ = said(output, "garments", model)
        assert right > 0.2 * (right + wrong)  # both garments; chance: one in twenty
    assert said(output, "garments", STAND_IN)[:2] == (0, 0)


def test_the_judge_tells_most_letters_that_are_due(output: str) -> None:
    found = re.search(r"as due in (\d+\.\d) % of (\d+):", output)
    assert found
    assert float(found[1]) > 70
    assert int(found[2]) > 100


def test_it_says_what_the_tiny_mllms_are(output: str) -> None:
    assert "tiny MLLMs: instruments, trained on other people of the made world and nothing else" in output


def test_each_kept_person_is_captioned_by_both_models(output: str, out: Path) -> None:
    rows = table(out, "annotate", "pairs").to_pylist()
    captioned = [row for row in rows if len(row["captions"]) == 2]
    assert len(captioned) > 100
    for row in captioned:
        assert {caption["model_id"] for caption in row["captions"]} == set(MODELS)
        assert {caption["image_tokens"] > 0 for caption in row["captions"]} == {True}
    assert {row["verdict"]["model_id"] for row in rows} == {MODELS[0]}


def test_the_report_sets_them_beside_the_stand_in(output: str, out: Path) -> None:
    page = (out / "report.html").read_text()
    assert all(name in page for name in (STAND_IN, *MODELS))
    assert "beside" in json.loads((out / "report.json").read_text())


def said(output: str, attribute: str, captioner: str) -> tuple[int, ...]:
    """Right, wrong and unsaid, as they are printed."""
    block = output[output.index(f"    {attribute}") :]
    found = re.search(rf"{re.escape(captioner)} +right (\d+), wrong (\d+), unsaid (\d+)", block)
    assert found
    return tuple(map(int, found.groups()))
