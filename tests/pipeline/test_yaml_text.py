"""YAML: what stands twice, and what is none."""

from typing import Any

import pytest

from pipeline.yaml_text import RepeatedKeyError, YamlError, read_yaml


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3: the key a stands twice, first on line 1"),
        ("x:\n  a: 1\n  'a': 1\n", "line 3: the key a stands twice, first on line 2"),
        ("[{a: 1, a: 1}]", "line 1: the key a stands twice, first on line 1"),
        ("a: 1\n? {b: 1, b: 2}\n: 3", "line 2: the key b stands twice, first on line 2"),
    ],
)
def test_a_key_that_stands_twice_is_named_with_its_line(text: str, said: str) -> None:
    with pytest.raises(RepeatedKeyError) as caught:
        read_yaml(text)
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: {k: 1}\nb: {k: 2}\n", {"a": {"k": 1}, "b": {"k": 2}}),
        ("1: a\n'1': b\n", {1: "a", "1": "b"}),
        ("a: &a {k: 1}\nb: {<<: *a, k: 2}\n", {"a": {"k": 1}, "b": {"k": 2}}),
        (
            "x:\n  y: &y {<<: &b {k: 1}, k: 2}\nz: {<<: *y, k: 3}\n",
            {"x": {"y": {"k": 2}}, "z": {"k": 3}},
        ),
    ],
)
def test_a_key_of_two_mappings_and_one_that_overrides_a_merged_one_are_no_repeats(
    text: str, value: Any
) -> None:
    assert read_yaml(text) == value


@pytest.mark.parametrize(
    "text", ["a: [1, 2", "a: b: c", "a: !!python/object:os.system x", "a: 2026-02-30", "[" * 5000]
)
def test_what_is_no_yaml_is_one_line(text: str) -> None:
    with pytest.raises(YamlError) as caught:
        read_yaml(text)
    assert "\n" not in str(caught.value)
