"""Recipes: read from YAML and `--set`, and the fingerprint moves with results only."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from curation.recipe import CurateRecipe
from pipeline.recipe import (
    RecipeError,
    fingerprint,
    load_recipe,
    packaged_recipes,
    parse_recipe,
    source_revision,
    trace,
)
from pipeline.records import SCHEMA_VERSION
from tests.pipeline.made_recipe import Leaf, Middle, Whole, error_of, recipe_file

ROOT = Path(__file__).parents[2]


def test_a_recipe_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes("seed: 1 # été".encode("latin-1"))
    assert error_of(str(path)).startswith(f"{path}: not YAML: ")


def test_an_empty_recipe_is_all_defaults(tmp_path: Path) -> None:
    assert load_recipe(Whole, recipe_file(tmp_path, "# nothing\n")) == Whole()


def test_a_missing_recipe_lists_the_packaged_ones(tmp_path: Path) -> None:
    missing = str(tmp_path / "none.yaml")
    assert error_of(missing) == f"{missing}: no such recipe (packaged ones: {', '.join(packaged_recipes())})"
    assert "laptop" in packaged_recipes()


def test_a_missing_file_is_not_replaced_by_a_packaged_recipe_of_its_name(tmp_path: Path) -> None:
    assert "no such recipe" in error_of(str(tmp_path / "laptop.yaml"))
    assert "no such recipe" in error_of("laptop.v2")


@pytest.mark.parametrize("name", ["laptop", "laptop.yaml", "recipes/laptop.yaml"])
def test_a_packaged_recipe_is_found_by_name_from_anywhere(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "laptop").mkdir()  # a folder of that name is no recipe
    recipe = load_recipe(CurateRecipe, name, others=frozenset({"train", "run"}))
    assert recipe.annotate.caption.captioner == "attributes-stand-in"


@pytest.mark.parametrize("name", packaged_recipes())
def test_every_packaged_recipe_loads(name: str) -> None:
    if "annotate" in (ROOT / "recipes" / f"{name}.yaml").read_text():
        load_recipe(CurateRecipe, name, others=frozenset({"train", "run"}))


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("seed=7", {"seed": 7}),
        ("share=1e-3", {"share": 0.001}),
        ("names=[a, b]", {"names": ("a", "b")}),
        ("middle.leaf.colour=light blue", {"middle": Middle(leaf=Leaf(colour="light blue"))}),
        ("middle.leaf.colour=a=b", {"middle": Middle(leaf=Leaf(colour="a=b"))}),
        ("middle.leaf.colour='[unclosed'", {"middle": Middle(leaf=Leaf(colour="[unclosed"))}),
        ("middle.leaf.colour=2026-02-30", {"middle": Middle(leaf=Leaf(colour="2026-02-30"))}),
        ("middle.maybe.workers=3", {"middle": Middle(maybe=Leaf(workers=3))}),
        ("middle.maybe=null", {}),
        (" seed =7", {"seed": 7}),
    ],
)
def test_set_reads_values_as_yaml(tmp_path: Path, override: str, value: dict[str, Any]) -> None:
    assert load_recipe(Whole, recipe_file(tmp_path, ""), [override]) == Whole(**value)


def test_set_wins_over_the_file_and_a_later_one_over_an_earlier(tmp_path: Path) -> None:
    name = recipe_file(tmp_path, "seed: 1\nshare: 0.25\n")
    recipe = load_recipe(Whole, name, ["seed=2", "seed=3"])
    assert (recipe.seed, recipe.share) == (3, 0.25)


@pytest.mark.parametrize("override", ["seed", "=7", " =7", ""])
def test_set_without_key_or_value_is_refused(tmp_path: Path, override: str) -> None:
    assert error_of(recipe_file(tmp_path, ""), override).startswith(f"--set {override}: expected key=value")


@pytest.mark.parametrize("value", ["{colour: [}", " [1, 2", "{a: b: c}"])
def test_set_with_a_bracket_that_is_not_closed_is_no_text(tmp_path: Path, value: str) -> None:
    said = error_of(recipe_file(tmp_path, ""), f"middle.leaf={value}")
    assert said == f"--set middle.leaf={value}: not YAML; put a text in quotes"


def test_a_key_that_stands_twice_is_named_with_file_and_line(tmp_path: Path) -> None:
    name = recipe_file(tmp_path, "seed: 1\nshare: 0.5\nseed: 2\n")
    assert error_of(name) == f"{name}: line 3: the key seed stands twice, first on line 1"


def test_set_with_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    override = "middle={leaf: {colour: a, colour: b}}"
    said = f"--set {override}: line 1: the key colour stands twice, first on line 1"
    assert error_of(recipe_file(tmp_path, ""), override) == said


def test_set_changes_one_of_two_sections_that_an_alias_makes_equal(tmp_path: Path) -> None:
    text = "middle: {leaf: &leaf {colour: a}, annotated: *leaf}"
    middle = load_recipe(Whole, recipe_file(tmp_path, text), ["middle.leaf.colour=b"]).middle
    assert (middle.leaf.colour, middle.annotated.colour) == ("b", "a")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("flag: yes", {"flag": True}),
        ("flags: [yes, no]", {"flags": (True, False)}),
        ("anything: yes", {"anything": True}),
        ("free: {a: yes, b: [no]}", {"free": {"a": True, "b": [False]}}),
    ],
)
def test_true_and_false_are_what_settings_for_them_take(
    tmp_path: Path, text: str, value: dict[str, Any]
) -> None:
    assert load_recipe(Whole, recipe_file(tmp_path, text)) == Whole(**value)


def test_a_section_that_is_left_blank_is_the_default_one(tmp_path: Path) -> None:
    name = recipe_file(tmp_path, "middle:\n  leaf:\n  annotated:\npool:\n")
    assert load_recipe(Whole, name) == Whole()
    assert load_recipe(Whole, recipe_file(tmp_path, "middle: {maybe:}")).middle.maybe is None
    with pytest.raises(RecipeError, match=r": annotate\.caption: missing$"):
        load_recipe(CurateRecipe, recipe_file(tmp_path, "annotate:"))


def test_set_below_a_value_is_refused(tmp_path: Path) -> None:
    name = recipe_file(tmp_path, "seed: 1\n")
    assert error_of(name, "seed.deep=1") == "--set seed.deep=1: seed is a value, not a section"


def test_set_into_a_section_that_the_file_leaves_empty(tmp_path: Path) -> None:
    recipe = load_recipe(Whole, recipe_file(tmp_path, "middle:\n"), ["middle.leaf.colour=blue"])
    assert recipe.middle.leaf.colour == "blue"


def test_sections_of_others_are_left_to_them(tmp_path: Path) -> None:
    name = recipe_file(tmp_path, "seed: 1\ntrain: {anything: goes}\n")
    assert load_recipe(Whole, name, ["train.more=1"], others=frozenset({"train"})).seed == 1
    assert "train: unknown key" in error_of(name)


def test_operational_settings_are_not_in_the_fingerprint() -> None:
    busy = parse_recipe(
        Whole, {"pool": {"colour": "blue", "workers": 9}, "middle": {"leaf": {"workers": 5}}}, "test"
    )
    assert busy.fingerprint() == Whole().fingerprint()
    assert "pool" not in busy.result_settings()
    assert busy.result_settings()["middle"]["leaf"] == {"colour": "red"}


def test_operational_settings_are_left_out_below_optional_sections_and_lists_too() -> None:
    for wrap in (lambda leaf: {"middle": Middle(maybe=leaf)}, lambda leaf: {"leaves": (leaf,)}):
        one, two = (Whole(**wrap(Leaf(workers=n))) for n in (1, 2))
        assert one.fingerprint() == two.fingerprint() != Whole().fingerprint()


@pytest.mark.parametrize(
    "tree",
    [{"seed": 1}, {"share": 0.25}, {"names": ["a"]}, {"middle": {"leaf": {"colour": "blue"}}}],
    ids=str,
)
def test_a_setting_that_changes_results_changes_the_fingerprint(tree: dict[str, Any]) -> None:
    assert parse_recipe(Whole, tree, "test").fingerprint() != Whole().fingerprint()


def test_the_fingerprint_takes_in_its_inputs() -> None:
    assert len({Whole().fingerprint(), Whole().fingerprint("a"), Whole().fingerprint("b")}) == 3


def test_the_order_of_keys_does_not_change_a_fingerprint() -> None:
    assert fingerprint({"a": 1, "b": {"c": 2, "d": 3}}) == fingerprint({"b": {"d": 3, "c": 2}, "a": 1})
    assert fingerprint({"a": [1, 2]}) != fingerprint({"a": [2, 1]})


def test_another_process_finds_the_same_fingerprint() -> None:
    code = (
        "from curation.recipe import CurateRecipe; from pipeline.recipe import load_recipe;"
        "print(load_recipe(CurateRecipe, 'laptop', others=frozenset({'train', 'run'})).fingerprint())"
    )
    printed = [
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    ]
    here = load_recipe(CurateRecipe, "laptop", others=frozenset({"train", "run"})).fingerprint()
    assert printed == [here, here]
    assert len(here) == 12


def test_the_trace_holds_what_made_an_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBPERSON_REVISION", "abc")
    recipe = Whole(names=("a",), pool=Leaf(workers=3))
    found = trace(recipe)
    assert set(found) == {"schema_version", "recipe", "recipe_hash", "packages", "source_revision"}
    assert (found["schema_version"], found["source_revision"]) == (SCHEMA_VERSION, "abc")
    assert found["recipe_hash"] == recipe.fingerprint()
    assert parse_recipe(Whole, found["recipe"], "trace") == recipe  # resolved: operational settings too
    assert found["packages"]["pyarrow"].startswith("26.")
    assert json.loads(json.dumps(found)) == found


def test_outside_a_repository_the_revision_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WEBPERSON_REVISION", raising=False)
    monkeypatch.setattr("pipeline.recipe.__file__", str(tmp_path / "pipeline" / "recipe.py"))
    assert source_revision() == "unknown"


def test_sections_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Whole().seed = 3
