"""Wrong recipes: one line that names file, key and what was expected."""

from pathlib import Path

import pytest

from curation.recipe import CurateRecipe
from pipeline.recipe import RecipeError, load_recipe
from tests.pipeline.made_recipe import error_of, recipe_file


@pytest.mark.parametrize(
    ("text", "key", "nearest"),
    [
        ("sed: 1", "sed", "seed"),
        ("middle: {leef: {}}", "middle.leef", "leaf"),
        ("middle: {leaf: {color: x}}", "middle.leaf.color", "colour"),
        ("middle: {maybe: {worker: 2}}", "middle.maybe.worker", "workers"),
        ("middle: {annotated: {worker: 2}}", "middle.annotated.worker", "workers"),
        ("pool: {worker: 2}", "pool.worker", "workers"),
        ("leaves: [{}, {worker: 2}]", "leaves.1.worker", "workers"),
    ],
)
def test_an_unknown_key_is_named_with_its_file_and_the_nearest_key(
    tmp_path: Path, text: str, key: str, nearest: str
) -> None:
    name = recipe_file(tmp_path, text)
    assert error_of(name) == f"{name}: {key}: unknown key; did you mean {nearest}?"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("middle: {zzz: 1}", "middle.zzz: unknown key; known are leaf, maybe, annotated"),
        ("zzz: 1", "zzz: unknown key; known are seed, share, names, middle, leaves, pool and 8 more"),
    ],
)
def test_where_no_key_is_like_the_unknown_one_the_known_ones_are_listed(
    tmp_path: Path, text: str, said: str
) -> None:
    name = recipe_file(tmp_path, text)
    assert error_of(name) == f"{name}: {said}"


def test_an_unknown_key_is_told_before_a_missing_one(tmp_path: Path) -> None:
    name = recipe_file(tmp_path, "annotat: {}\n")
    with pytest.raises(RecipeError, match=r": annotat: unknown key; did you mean annotate\?$"):
        load_recipe(CurateRecipe, name)


@pytest.mark.parametrize(
    "override",
    [
        "gates.score_mn=1",
        "harvest.download.web.deadlin_s=1",
        "annotate.caption.templats=x",
        "pack.val_shares=0",
    ],
)
def test_the_curation_recipe_knows_its_keys_at_every_depth(override: str) -> None:
    key = override.partition("=")[0]
    with pytest.raises(RecipeError, match=f"^--set {key}: unknown key; did you mean ") as caught:
        load_recipe(CurateRecipe, "laptop", [override], others=frozenset({"train", "run"}))
    nearest = str(caught.value).rpartition(" ")[2].rstrip("?")
    last = key.rpartition(".")[2]
    assert nearest in {"score_min", "deadline_s", "templates", "val_share"}
    assert nearest[:5] == last[:5]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seed: many", "seed: expected a whole number in digits"),
        ("seed: 1e3", "seed: expected a whole number in digits"),
        ("seed: 2.5", "seed: expected a whole number"),
        ("seed:", "seed: expected a whole number"),
        ("share: half", "share: expected a number"),
        ("flag: maybe", "flag: expected true or false"),
        ("names: a", "names: expected a list, such as [a, b]"),
        ("names: [1]", "names.0: expected a text; put it in quotes"),
        ("pair: 80", "pair: expected a list, such as [80, 0.5]"),
        ("pair: [80]", "pair.1: missing"),
        ("either: 3", "either: expected a list, such as [a, b]"),
        ("either: [3]", "either.0: expected a text"),
        ("leaves: {}", "leaves: expected a list, such as [{colour: …}]"),
        ("leaves: [a]", "leaves.0: expected settings, such as {colour: …}"),
        ("free: 3", "free: expected a mapping"),
        ("middle: {leaf: {workers: 0}}", "middle.leaf.workers: Input should be greater than 0"),
        ("middle: 3", "middle: expected settings, such as {leaf: …}"),
        ("- a\n- b", "a recipe is a mapping of settings, not a list"),
        ("just text", "a recipe is a mapping of settings, not a str"),
        ("a: [1, 2", "not YAML: "),
        ("a: b: c", "not YAML: "),
        ("a: !!python/object:os.system x", "not YAML: "),
        ("a: 2026-02-30", "not YAML: "),
        ("1: 2", "1: a key is a text; put it in quotes"),
    ],
)
def test_a_bad_recipe_is_one_line_that_names_the_file(tmp_path: Path, text: str, words: str) -> None:
    name = recipe_file(tmp_path, text)
    assert error_of(name).startswith(f"{name}: {words}")


def test_a_settings_own_check_speaks_without_pydantics_prefix() -> None:
    with pytest.raises(RecipeError, match=r"^laptop: annotate: captioner `endpoint` needs models"):
        load_recipe(
            CurateRecipe,
            "laptop",
            ["annotate.caption.captioner=endpoint"],
            others=frozenset({"train", "run"}),
        )


@pytest.mark.parametrize(
    "text",
    [
        "seed: yes",
        "share: true",
        "limit: on",
        "times: yes",
        "pair: [yes, 0.5]",
        "names: [no]",
        "either: no",
        "middle: true",
    ],
)
def test_true_and_false_are_no_numbers_and_no_texts(tmp_path: Path, text: str) -> None:
    name, key = recipe_file(tmp_path, text), text.partition(":")[0]
    said = f"{name}: {key}: takes no true or false, as YAML also reads yes, no, on and off"
    assert error_of(name) == said


@pytest.mark.parametrize("size", [-1, 0, 10, 75 * 2**20 - 1])
def test_an_object_store_that_ray_refuses_is_refused_before(size: int) -> None:
    with pytest.raises(RecipeError, match=r"^--set object_store_bytes: Input should be greater than or"):
        load_recipe(CurateRecipe, "laptop", [f"object_store_bytes={size}"], others=frozenset({"train"}))


def test_ports_without_brackets_are_told_how_a_list_is_written() -> None:
    with pytest.raises(RecipeError, match=r"web\.ports: expected a list, such as \[80, 443\]$"):
        load_recipe(CurateRecipe, "laptop", ["harvest.download.web.ports=80"], others=frozenset({"train"}))


def test_a_key_of_another_section_is_named_with_its_whole_path() -> None:
    with pytest.raises(RecipeError, match=r"did you mean harvest\.download\.web\.allow_loopback\?"):
        load_recipe(CurateRecipe, "laptop", ["allow_loopback=true"], others=frozenset({"train"}))
