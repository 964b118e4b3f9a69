"""A disk that is really full: the run stops with one line, and goes on once there is room."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MOUNT = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs"]
FILLED_AND_WIDENED = """
import os, subprocess, sys
from pathlib import Path
from pipeline.storage import StorageError, listing
from tests.curation.made_run import InProcess, final_rows, run

small, large, mount = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
subprocess.run([*mount, small], check=True)
left, runners = [], []
for size in ("64k", "256k", "512k", "16m"):
    subprocess.run(["mount", "-o", f"remount,size={size}", small], check=True)
    runners.append(InProcess())
    try:
        reports = run(small / "out", runner=runners[-1])
    except StorageError as error:
        print(str(error).replace(str(small), "FULL"))
        left += [path.name for path in small.rglob(".*") if path.is_file()]
    else:
        break
ran = [unit for runner in runners for unit in runner.ran]
print("units twice:", len(ran) - len(set(ran)))
print("the same rows:", final_rows(reports) == final_rows(run(large)))
print("left over:", left, flush=True)
os._exit(0)  # libraries' threads may abort a process that ends in another user namespace
"""


def test_a_full_disk_stops_the_run_in_one_line_and_room_lets_it_go_on(tmp_path: Path) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    small.mkdir()
    own = ["unshare", "--user", "--map-root-user", "--mount"]
    if not shutil.which("unshare") or subprocess.run([*own, *MOUNT, small], capture_output=True).returncode:
        pytest.skip("no tmpfs can be mounted here")
    code = [sys.executable, "-c", FILLED_AND_WIDENED]
    ended = subprocess.run(
        [*own, *code, small, large, *MOUNT], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == 0, ended.stderr
    *full, twice, same, left_over = ended.stdout.splitlines()
    assert len(full) >= 2
    assert all(line.startswith("FULL/out/") and line.endswith("No space left on device") for line in full)
    assert (twice, same, left_over) == ("units twice: 0", "the same rows: True", "left over: []")
