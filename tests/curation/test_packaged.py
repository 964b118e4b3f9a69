"""Packaged tables: comments are no rows, and the hash tells every change."""

import pytest

from curation.packaged import packaged_hash, packaged_rows

TEXTS = {"one.csv": "# why\nword,terms\ntan,brown|beige\n# more\nred,red\n", "other.csv": "a\n1\n"}


@pytest.fixture(autouse=True)
def _texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curation.packaged.packaged_text", TEXTS.__getitem__)


def test_comments_are_no_rows() -> None:
    assert list(packaged_rows("one.csv")) == [
        {"word": "tan", "terms": "brown|beige"},
        {"word": "red", "terms": "red"},
    ]


def test_a_hash_is_of_all_tables_in_their_order() -> None:
    hashes = {
        packaged_hash(*names) for names in (["one.csv"], ["one.csv", "other.csv"], ["other.csv", "one.csv"])
    }
    assert len(hashes) == 3
    assert all(len(found) == 12 for found in hashes)
