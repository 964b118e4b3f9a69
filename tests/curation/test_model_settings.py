from typing import Any

import pytest

from curation.model_settings import ModelSettings
from pipeline.recipe import RecipeError, parse_recipe


def settings(*urls: str, **changes: Any) -> ModelSettings:
    return parse_recipe(ModelSettings, {"name": "toy", "urls": urls, **changes}, source="r.yaml")


def test_addresses_and_waits_do_not_change_the_fingerprint() -> None:
    one, two = settings("http://a", concurrency=2, canaries=()), settings("http://b", read_timeout_s=1.0)
    assert one.fingerprint() == two.fingerprint()
    assert one.fingerprint() != settings("http://a", name="other").fingerprint()
    assert one.fingerprint() != settings("http://a", revision="abc").fingerprint()


def test_a_base_address_may_end_in_a_slash() -> None:
    assert settings("http://a:8000/", "http://b/llm/").urls == ("http://a:8000", "http://b/llm")


def test_an_address_may_be_a_number() -> None:
    assert settings("http://10.0.0.7:8000", "https://[::1]:8000").urls[1] == "https://[::1]:8000"


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8000",
        "ftp://a",
        "http://",
        "http://a:8000/v1",
        "",
        "http://a:0",
        "http://a:99999",
        "http://a:port",
        "http://a..b",
        "http://a b",
        "http://a\n.b",
        "http://[::1",
        f"http://{'a' * 64}",
    ],
)
def test_what_is_no_base_address_is_refused(url: str) -> None:
    with pytest.raises(RecipeError, match=r"^r\.yaml: urls: "):
        settings(url)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (
            "http://me:hunter2@a:8000",
            "the address of host a carries a user name or password; set api_key_env",
        ),
        ("http://hunter2@a:8000", "the address of host a carries a user name or password; set api_key_env"),
        ("me:hunter2@a:8000", "an address carries a user name or password; set api_key_env"),
        ("http://me:hunt/er2@a", "an address carries a user name or password; set api_key_env"),
        ("http://me:hunter2", "an address is not like http://host:8000"),
        ("http://a:8000?key=hunter2", "the address of host a carries a query or fragment"),
        ("http://a:8000/x#hunter2", "the address of host a carries a query or fragment"),
        ("http://hunter2\u2100@a", "an address carries a user name or password"),
        ("http://a/hunter2/v1", "the address of host a: without /v1"),
    ],
)
def test_a_secret_in_an_address_is_refused_and_not_repeated(url: str, said: str) -> None:
    with pytest.raises(RecipeError) as refused:
        settings(url)
    assert f"urls: {said}" in str(refused.value)
    assert "hunt" not in str(refused.value)


@pytest.mark.parametrize(
    "engine",
    [
        {"hf_token": "hunter2"},
        {"api_key": "hunter2"},
        {"Api-Key": "hunter2"},
        {"token": "hunter2"},
        {"client_secret_value": "hunter2"},
        {"hf_overrides": [{"password": "hunter2"}]},
    ],
)
def test_a_secret_among_the_engines_arguments_is_refused_and_not_repeated(engine: dict[str, Any]) -> None:
    with pytest.raises(
        RecipeError, match=r"^r\.yaml: serve\.engine: \S+ is a secret, which every"
    ) as refused:
        settings("http://a", serve={"engine": engine})
    assert "hunter2" not in str(refused.value)


def test_arguments_that_only_sound_like_a_secret_are_accepted() -> None:
    engine = {
        "max_num_batched_tokens": 8192,
        "long_prefill_token_threshold": 4,
        "tokenizer": "hub/m",
        "hf_token": True,
        "hf_overrides": {"num_experts_per_token": 2, "image_token_id": 7},
        "speculative_token_tree": "[(0,)]",
    }
    assert settings("http://a", serve={"engine": engine}).serve.engine == engine


@pytest.mark.parametrize("key", ["sk-hunter2", "hunter2/x", "7hunter", "hünt"])
def test_a_key_in_place_of_its_variable_is_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(RecipeError, match=r"^r\.yaml: api_key_env: not the name of an") as refused:
        settings("http://a", api_key_env=key)
    assert key not in str(refused.value)


def test_the_variable_of_a_key_is_named() -> None:
    assert settings("http://a", api_key_env="OPENAI_API_KEY").api_key_env == "OPENAI_API_KEY"


def test_a_secret_in_the_address_of_weights_is_refused_and_not_repeated() -> None:
    with pytest.raises(RecipeError, match=r"serve\.source: an address carries a user name") as refused:
        settings("http://a", serve={"source": "s3://me:hunter2@bucket/m"})
    assert "hunter2" not in str(refused.value)
