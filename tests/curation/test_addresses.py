import ipaddress
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from curation.addresses import (
    Target,
    WebError,
    checked_addresses,
    is_loopback,
    is_public,
    parse_url,
)
from pipeline.reasons import Reason

PUBLIC = ["8.8.8.8", "93.184.216.34", "1.1.1.1", "2606:4700::1111", "2a00:1450:4001:80f::200e", "192.0.1.1"]
NOT_PUBLIC = [
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "203.0.113.9",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "fe80::1",
    "fc00::1",
    "fd00:ec2::254",
    "ff02::1",
    "2001:db8::1",
    "3fff::1",
    "4000::1",
    "2001:0:7f00:1::",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "::808:808",
    "64:ff9b:1::808:808",
    "100::1",
    "5f00::1",
    "fec0::1",
    "ff0e::1",
    "198.51.100.1",
    "192.0.0.8",
    "239.255.255.250",
]


def reason_of(url: str) -> Reason:
    with pytest.raises(WebError) as caught:
        parse_url(url)
    return caught.value.reason


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_private_reserved_and_metadata_addresses_are_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


v4 = st.integers(0, 2**32 - 1).map(IPv4Address)


@given(v4)
@example(IPv4Address("127.0.0.1"))
@example(IPv4Address("10.0.0.1"))
@example(IPv4Address("169.254.169.254"))
@example(IPv4Address("8.8.8.8"))
def test_an_address_inside_another_counts_as_itself(address: IPv4Address) -> None:
    inside = int(address)
    mapped = IPv6Address((0xFFFF << 32) | inside)
    nat64 = IPv6Address(int(IPv6Address("64:ff9b::")) | inside)
    six_to_four = IPv6Address(int(IPv6Address("2002::")) | (inside << 80) | 1)
    assert {is_public(mapped), is_public(nat64), is_public(six_to_four)} == {is_public(address)}


@given(st.integers(0, 2**128 - 1).map(IPv6Address))
def test_public_ipv6_is_global_unicast_or_carries_public_ipv4(address: IPv6Address) -> None:
    if is_public(address):
        carries = address.ipv4_mapped or address in ipaddress.ip_network("64:ff9b::/96")
        assert carries or int(address) >> 125 == 0b001


@given(v4)
@example(IPv4Address("8.8.8.8"))
def test_an_address_in_a_form_that_nobody_routes_is_never_public(address: IPv4Address) -> None:
    inside = int(address)
    compatible = IPv6Address(inside)
    local_nat64 = IPv6Address(int(IPv6Address("64:ff9b:1::")) | inside)
    teredo = IPv6Address(int(IPv6Address("2001::")) | (inside << 64) | (inside ^ 0xFFFFFFFF))
    translated = IPv6Address((0xFFFF << 48) | inside)
    assert not any(is_public(form) for form in (compatible, local_nat64, teredo, translated))


@given(v4 | st.integers(0, 2**128 - 1).map(IPv6Address))
@example(IPv4Address("127.0.0.1"))
@example(IPv6Address("::1"))
@example(IPv6Address("::ffff:127.0.0.1"))
def test_loopback_is_never_public(address: IPv4Address | IPv6Address) -> None:
    assert not (is_loopback(address) and is_public(address))


def test_one_private_address_refuses_them_all() -> None:
    assert len(checked_addresses(["8.8.8.8", "1.1.1.1"], allow_loopback=False)) == 2
    with pytest.raises(WebError) as caught:
        checked_addresses(["8.8.8.8", "10.0.0.1"], allow_loopback=True)
    assert caught.value.reason is Reason.ADDRESS_FORBIDDEN


@pytest.mark.parametrize("name", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_loopback_is_allowed_only_where_allowed(name: str) -> None:
    assert checked_addresses([name], allow_loopback=True) == [ipaddress.ip_address(name)]
    with pytest.raises(WebError):
        checked_addresses([name], allow_loopback=False)


@pytest.mark.parametrize("name", ["fe80::1%eth0", "", "localhost"])
def test_what_is_no_plain_address_is_refused(name: str) -> None:
    with pytest.raises(WebError):
        checked_addresses([name], allow_loopback=True)


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("http://example.com", "http://example.com/"),
        ("HTTP://EXAMPLE.com:80/A", "http://example.com/A"),
        ("https://example.com:443/a?b=c#d", "https://example.com/a?b=c"),
        ("http://example.com:8080/", "http://example.com:8080/"),
        ("http://example.com./a", "http://example.com/a"),
        (" http://example.com/a b.jpg\n", "http://example.com/a%20b.jpg"),
        ("http://example.com/ü/a%20b%.jpg?q=ü&r=/?", "http://example.com/%C3%BC/a%20b%.jpg?q=%C3%BC&r=/?"),
        ("http://bücher.example/a", "http://xn--bcher-kva.example/a"),
        ("http://under_score.example.com/a", "http://under_score.example.com/a"),
        ("http://[2606:4700:0:0::1111]:81/a", "http://[2606:4700::1111]:81/a"),
        ('http://example.com/a"<>\\', "http://example.com/a%22%3C%3E%5C"),
    ],
)
def test_urls_are_spelt_as_browsers_send_them(url: str, sent: str) -> None:
    assert parse_url(url).url == sent
    assert parse_url(sent).url == sent


@pytest.mark.parametrize(
    "host",
    [
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "0x7f000001",
        "127.1",
        "１２７.0.0.1",
        "127。0。0。1",
        "127.0.0.1.",
    ],
)
def test_odd_spellings_of_an_address_are_read_for_what_they_are(host: str) -> None:
    assert parse_url(f"http://{host}/a") == Target("http", "127.0.0.1", 80, "/a")


@pytest.mark.parametrize(
    "url",
    [
        "",
        " ",
        "example.com/a.jpg",
        "/a.jpg",
        "//example.com/a.jpg",
        "http://",
        "http:///a",
        "http://user@example.com/",
        "http://user:word@example.com/",
        "http://example.com\\@10.0.0.1/",
        "http://example.com\\a",
        "http://exam ple.com/",
        "http://example.com%2f.org/",
        "http://a..b/",
        "http://-.example.123456/",
        "http://256.1.1.1/",
        "http://1.2.3.4.5/",
        "http://[::1/",
        "http://[::1%25eth0]/",
        "http://[127.0.0.1]/",
        "http://example.com:99999/",
        "http://example.com:x/",
        "http://example.com/a\r\nX: y",
        "http://example.com/a\tb",
        "http://example.com/\x00",
        "http://exa\nmple.com/",
        "http://" + "a" * 64 + ".com/",
        "http://example.com/" + "a" * 9000,
        "http://example.com/\ud800",
        "http://\ud800.com/",
    ],
)
def test_urls_that_cannot_be_sent_are_invalid(url: str) -> None:
    assert reason_of(url) is Reason.URL_INVALID


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://example.com/a",
        "data:image/png;base64,AA",
        "FILE:/etc/passwd",
        "javascript:1",
    ],
)
def test_other_schemes_are_forbidden(url: str) -> None:
    assert reason_of(url) is Reason.SCHEME_FORBIDDEN


@given(st.text(max_size=80) | st.text(max_size=60).map(lambda text: f"http://{text}"))
def test_any_text_is_a_url_that_can_be_sent_or_a_web_error(text: str) -> None:
    try:
        target = parse_url(text)
    except WebError:
        return
    assert target.url.isascii()
    assert target.url.isprintable()
    assert " " not in target.url
    assert parse_url(target.url) == target


def test_a_web_error_is_one_line_of_reason_and_detail() -> None:
    assert str(WebError(Reason.DNS_FAILED, "a\nb  c")) == "dns_failed|a b c"


@pytest.mark.parametrize(
    ("path", "spelled"),
    [
        ("/a/../b", "/b"),
        ("/a/b/..", "/a/"),
        ("/a/.", "/a/"),
        ("/../..", "/"),
        ("/a/%2E%2e/./b/.%2e/c?x=/../y", "/c?x=/../y"),
        ("//a/..//b", "///b"),
        ("/.../.a/a../b.", "/.../.a/a../b."),
    ],
)
def test_dots_in_a_path_are_followed_as_browsers_do(path: str, spelled: str) -> None:
    assert parse_url(f"http://a.example{path}").path == spelled
