"""Pre-filters: each limit by itself, at its boundary, and what the list does not say."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from curation.list_files import InputError
from curation.prefilter import Domains, Prefilter, PrefilterSettings
from pipeline.reasons import Reason

URL = "http://www.example.com/a.jpg"
COYO: dict[str, Any] = {
    "width": 640,
    "height": 480,
    "num_faces": 1,
    "nsfw_score_opennsfw2": 0.2,
    "nsfw_score_gantman": 0.3,
    "watermark_score": 0.4,
}


def reason(limits: dict[str, Any], url: str | None = URL, **values: Any) -> Reason | None:
    found = refusal(limits, url, **values)
    return found[0] if found else None


def refusal(limits: dict[str, Any], url: str | None = URL, **values: Any) -> tuple[Reason, str] | None:
    return Prefilter.read(PrefilterSettings(**limits)).refusal(url, {**COYO, **values})


@pytest.mark.parametrize(
    ("limits", "passes", "breaks", "expected"),
    [
        ({"min_width_px": 640}, {"width": 640}, {"width": 639}, Reason.LISTED_SIZE),
        ({"min_height_px": 480}, {"height": 480}, {"height": 479}, Reason.LISTED_SIZE),
        ({"aspect_min": 0.5}, {"width": 240}, {"width": 239}, Reason.LISTED_ASPECT),
        ({"aspect_max": 2}, {"width": 960}, {"width": 961}, Reason.LISTED_ASPECT),
        ({"faces_min": 1}, {"num_faces": 1}, {"num_faces": 0}, Reason.LISTED_FACES),
        ({"faces_max": 1}, {"num_faces": 1}, {"num_faces": 2}, Reason.LISTED_FACES),
        ({"nsfw_max": 0.5}, {}, {"nsfw_score_opennsfw2": 0.51}, Reason.LISTED_NSFW),
        ({"nsfw_max": 0.5}, {"nsfw_score_gantman": 0.5}, {"nsfw_score_gantman": 0.51}, Reason.LISTED_NSFW),
        ({"watermark_max": 0.4}, {}, {"watermark_score": 0.41}, Reason.LISTED_WATERMARK),
        ({"min_width_px": 640}, {"width": "640"}, {"width": " 639 "}, Reason.LISTED_SIZE),
        ({"min_width_px": 640}, {"width": Decimal(640)}, {"width": Decimal("639.9")}, Reason.LISTED_SIZE),
        ({"min_width_px": 640}, {"width": float("inf")}, {"width": -1}, Reason.LISTED_SIZE),
    ],
)
def test_a_limit_lets_its_own_value_through(
    limits: dict[str, Any], passes: dict[str, Any], breaks: dict[str, Any], expected: Reason
) -> None:
    assert reason(limits, **passes) is None
    assert reason(limits, **breaks) is expected


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"min_width_px": 1000, "min_height_px": 500}, "width 640 < 1000"),
        ({"min_height_px": 500}, "height 480 < 500"),
        ({"aspect_max": 1.25}, "width / height 1.33333333333 > 1.25"),
        ({"faces_min": 2}, "num_faces 1 < 2"),
        ({"nsfw_max": 0.25}, "nsfw_score_gantman 0.3 > 0.25"),
        ({"watermark_max": 0.125, "watermark_column": "width"}, "width 640 > 0.125"),
        ({"domains_deny": ("example.com",)}, "www.example.com is in domains_deny"),
        ({"domains_allow": ("example.org",)}, "www.example.com is not in domains_allow"),
    ],
    ids=str,
)
def test_a_refusal_says_what_was_found_and_what_the_limit_is(limits: dict[str, Any], said: str) -> None:
    found = refusal(limits)
    assert found is not None
    assert found[1] == said


@pytest.mark.parametrize("unknown", [None, float("nan"), "", "  "])
@pytest.mark.parametrize(
    ("limits", "column"),
    [
        ({"min_width_px": 10}, "width"),
        ({"min_height_px": 10}, "height"),
        ({"aspect_min": 0.1, "aspect_max": 9}, "width"),
        ({"faces_min": 1}, "num_faces"),
        ({"nsfw_max": 0.3}, "nsfw_score_gantman"),
        ({"watermark_max": 0}, "watermark_score"),
    ],
)
def test_what_the_list_does_not_say_passes(limits: dict[str, Any], column: str, unknown: Any) -> None:
    assert reason(limits, **{column: unknown}) is None


def test_a_picture_without_height_has_no_aspect() -> None:
    assert reason({"aspect_max": 1}, height=0) is None


@pytest.mark.parametrize("value", ["wide", True, [640], {"px": 640}])
def test_what_is_no_number_raises_with_the_column(value: Any) -> None:
    with pytest.raises(ValueError, match=r"column width holds .*, not a number"):
        reason({"min_width_px": 10}, width=value)


def test_without_limits_nothing_is_looked_at() -> None:
    assert PrefilterSettings().number_columns() == {}
    assert Prefilter.read(PrefilterSettings()).refusal(URL, {}) is None


def test_only_columns_of_limits_that_are_set_are_read_each_for_its_first_limit() -> None:
    settings = PrefilterSettings(
        min_width_px=9, aspect_max=2, nsfw_max=0.5, nsfw_columns=("punsafe",), faces_column="faces"
    )
    expected = {"width": "min_width_px", "height": "aspect_max", "punsafe": "nsfw_max"}
    assert settings.number_columns() == expected


def test_the_first_broken_limit_is_the_reason() -> None:
    assert reason({"min_width_px": 641, "nsfw_max": 0.1, "domains_deny": ("com",)}) is Reason.LISTED_SIZE


@pytest.mark.parametrize(
    ("domain", "url", "excluded"),
    [
        ("example.com", "http://example.com/", True),
        ("example.com", "https://a.b.example.com:8080/x", True),
        ("example.com", "http://EXAMPLE.com./", True),
        ("example.com", "http://notexample.com/", False),
        ("example.com", "http://example.com.evil.org/", False),
        ("example.com", "http://example.org/example.com", False),
        ("a.example.com", "http://example.com/", False),
        ("*.Example.COM", "http://a.example.com/", True),
        (".example.com.", "http://a.example.com/", True),
        ("bücher.example", "http://xn--bcher-kva.example/", True),
        ("xn--bcher-kva.example", "http://www.bücher.example/", True),
        ("127.0.0.1", "http://2130706433/", True),
        ("com", "http://example.com/", True),
        ("example.com", "not a url", False),
        ("example.com", None, False),
    ],
)
def test_a_denied_domain_is_left_out_with_its_subdomains(
    domain: str, url: str | None, excluded: bool
) -> None:
    assert reason({"domains_deny": (domain,)}, url) is (Reason.DOMAIN_EXCLUDED if excluded else None)


@pytest.mark.parametrize(
    ("url", "excluded"),
    [("http://a.example.com/", False), ("http://example.org/", True), ("http://[::1]/", True), ("x", False)],
)
def test_with_allowed_domains_all_others_are_left_out(url: str, excluded: bool) -> None:
    found = reason({"domains_allow": ("example.com", "example.net")}, url)
    assert found is (Reason.DOMAIN_EXCLUDED if excluded else None)


def test_deny_wins_over_allow() -> None:
    limits = {"domains_allow": ("example.com",), "domains_deny": ("bad.example.com",)}
    assert reason(limits, "http://bad.example.com/") is Reason.DOMAIN_EXCLUDED
    assert reason(limits, "http://good.example.com/") is None


def test_domains_come_from_a_file_too(tmp_path: Path) -> None:
    path = tmp_path / "deny.txt"
    path.write_text("\ufeff# our list\n\nexample.com # for a reason\r\n*.example.net\n", encoding="utf-8")
    assert reason({"domains_deny": str(path)}, "http://a.example.net/") is Reason.DOMAIN_EXCLUDED
    assert reason({"domains_deny": str(path)}, "http://example.org/") is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("example.com\nhttp://example.com/\n", " line 2: not a domain: 'http://example.com/'"),
        ("a b\n", " line 1: not a domain: 'a b'"),
        ("*.\n", " line 1: not a domain: '*.'"),
        ("# nothing\n", ": no domain in it"),
        (b"\xff\xfe", ": a list of domains is UTF-8 text"),
        (None, ": no such file"),
    ],
)
def test_a_bad_domain_file_is_one_line(content: str | bytes | None, said: str, tmp_path: Path) -> None:
    path = tmp_path / "deny.txt"
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(InputError) as caught:
        Prefilter.read(PrefilterSettings(domains_deny=str(path)))
    assert str(caught.value) == f"harvest.input.domains_deny: {path}{said}"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("example.com", "http://x y"), "not a domain: 'http://x y'"),
        ("example.com", "example.com: no such file; for one domain write [example.com]"),
        ("deny.txt", "deny.txt: no such file"),
    ],
)
@pytest.mark.parametrize("setting", ["domains_allow", "domains_deny"])
def test_a_wrong_domain_is_named_with_its_setting(
    setting: str, given: Any, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        Prefilter.read(PrefilterSettings(**{setting: given}))
    assert str(caught.value) == f"harvest.input.{setting}: {said}"


def test_the_fingerprint_is_of_the_domains_and_not_of_their_file(tmp_path: Path) -> None:
    def of(**limits: Any) -> str:
        return Prefilter.read(PrefilterSettings(**limits)).fingerprint()

    (tmp_path / "a.txt").write_text("example.com\nexample.org\n")
    (tmp_path / "b.txt").write_text("# moved\nEXAMPLE.org\nexample.com\nexample.com\n")
    a, b = str(tmp_path / "a.txt"), str(tmp_path / "b.txt")
    assert of(domains_deny=a) == of(domains_deny=b) == of(domains_deny=("example.org", "example.com"))
    assert len({of(), of(domains_deny=a), of(domains_allow=a), of(domains_deny=("example.com",))}) == 4


def test_ten_thousand_domains_are_each_found_and_no_other() -> None:
    domains = Domains(f"host{n}.example" for n in range(10_000))
    assert all(f"www.host{n}.example" in domains for n in range(0, 10_000, 97))
    assert not any(f"host{n}.example" in domains for n in range(10_000, 20_000, 97))
    assert "a" not in Domains([])


@pytest.mark.parametrize(
    "limits",
    [
        {"aspect_min": 2, "aspect_max": 1},
        {"faces_min": 2, "faces_max": 1},
        {"min_width_px": 0},
        {"nsfw_max": 1.5},
        {"watermark_max": -0.1},
        {"width": 3},
    ],
)
def test_limits_that_make_no_sense_are_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PrefilterSettings(**limits)
