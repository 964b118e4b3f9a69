"""A made world that several tests look at."""

from pathlib import Path

import pytest

from world.folder import World, make_world


@pytest.fixture(scope="session")
def made_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 30 people in two views each, 12 pictures of every other kind; not the demo's."""
    folder = tmp_path_factory.mktemp("made") / "world"
    make_world(World(people=30, views=2, others=12, seed=5), folder)
    return folder
