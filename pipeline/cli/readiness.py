"""What a run would stumble over on this machine, found out before it begins."""

import shutil
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.storage import StorageError, publish, remove

if TYPE_CHECKING:
    from curation.recipe import CurateRecipe
    from pipeline.storage import Place

HOSTS_TRIED = 20


def problems(recipe: "CurateRecipe", urls: Iterable[str | None], out: "Place") -> Iterator[str]:
    """What is not ready, a line each: the output folder, weights, GPUs, name resolution."""
    yield from _unwritable(out)
    yield from no_weights(recipe)
    yield from no_gpu(recipe)
    yield from _no_names(recipe, urls)


def no_space(out: "Place", wanted_bytes: float) -> Iterator[str]:
    """A line if the local disk under the output folder has less room than what harvest will write."""
    if isinstance(out, Path):
        free = shutil.disk_usage(out).free
        if free < wanted_bytes:
            yield f"{out}: {free / 1e9:,.1f} GB free, harvest will write about {wanted_bytes / 1e9:,.1f} GB"


def _unwritable(out: "Place") -> Iterator[str]:
    probe = out / "plan-probe"
    try:
        publish(probe, b"written by webperson plan\n")
        remove(probe)
    except (OSError, StorageError) as error:
        yield f"{out}: cannot be written: {' '.join(str(error).split())}"


def no_weights(recipe: "CurateRecipe") -> Iterator[str]:
    """A line for each detector whose weights cannot be used."""
    from curation.detectors import RANDOM
    from curation.weights import WeightsError, resolve_weights

    persons = recipe.harvest.persons
    for name, weights, sha256 in (
        ("weights", persons.weights, persons.weights_sha256),
        ("pose_weights", persons.pose_weights, persons.pose_weights_sha256),
    ):
        try:
            if weights not in (None, RANDOM):
                resolve_weights(weights, sha256)
        except WeightsError as error:
            yield f"harvest.persons.{name}: {error}"


def no_gpu(recipe: "CurateRecipe") -> Iterator[str]:
    """A line if device, GPUs of the pool and this machine do not go together."""
    import torch

    device = recipe.harvest.persons.device
    if device.startswith("cuda") and not torch.cuda.is_available():
        yield f"harvest.persons.device: {device}, but torch sees no GPU on this machine"
    if not device.startswith("cuda") and recipe.harvest.measure_pool.gpus:
        yield f"harvest.measure_pool.gpus: {recipe.harvest.measure_pool.gpus:g}, but the device is {device}"


def _no_names(recipe: "CurateRecipe", urls: Iterable[str | None]) -> Iterator[str]:
    from curation.addresses import WebError, parse_url, system_addresses

    hosts: dict[str, None] = {}
    for url in urls:
        try:
            hosts.setdefault(parse_url(url or "").host)
        except WebError:
            continue
    tried, failure = list(islice(hosts, HOSTS_TRIED)), ""
    for host in tried:
        try:
            system_addresses(host)
            return
        except OSError as error:
            failure = f"{host}: {error}"
    if tried and not recipe.harvest.download.web.allow_loopback:
        yield f"none of {len(tried)} host names of the list resolves, last {failure}"
