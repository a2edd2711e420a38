"""Secrets in URLs: what is one, and that no message, spec or file shows it."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.errors import SpecError
from pipeline.masking import has_secret, mask_table, masked, masked_text, secret_name
from pipeline.spec import RunSpec, parse_spec, set_dotted
from pipeline.sweep.spec import SweepSpec
from pipeline.tracking import run_url

SECRETS = {
    "postgresql+psycopg2://me:pw@host:5432/db": "postgresql+psycopg2://me:***@host:5432/db",
    "http://me:p%40w@host/x": "http://me:***@host/x",
    "https://ghp_abc@example.org/me/repo.git": "https://***@example.org/me/repo.git",
    "https://me:@host/": "https://me:***@host/",
    "https://host/x?access_token=abc&page=2": "https://host/x?access_token=***&page=2",
    "https://host/x?apiKey=abc": "https://host/x?apiKey=***",
    "https://host/x?X-Amz-Signature=abc#end": "https://host/x?X-Amz-Signature=***#end",
    "mysql://u:p@h/db?password=q": "mysql://u:***@h/db?password=***",
}
PLAIN = [
    "sqlite:///mlflow.db",
    "sqlite:////a/b.db?mode=ro",
    "http://127.0.0.1:5000",
    "postgresql://me@host/db",
    "ssh://git@example.org/me/repo.git",
    "https://host/x?monkey=1&tokenizer=bpe&passes=3&keyboard=us&author=me",
    "data/my@file:x.csv",
    "sample:sp500",
    "a text: with://no address",
    "http://[bad",
    "https://host/x?token=",
]


@pytest.mark.parametrize("url", SECRETS)
def test_secrets_are_masked(url: str) -> None:
    """Passwords, tokens as user names, tokens and signatures in the query; the rest stays, and masking is final."""
    assert masked(url) == SECRETS[url]
    assert has_secret(url)
    assert masked(SECRETS[url]) == SECRETS[url]
    assert masked_text(f"cannot reach <{url}>, or {url!r}") == f"cannot reach <{SECRETS[url]}>, or {SECRETS[url]!r}"


@pytest.mark.parametrize("url", PLAIN)
def test_the_rest_stays_as_it_is(url: str) -> None:
    """A user name, a path, a query with words that only contain those of secrets."""
    assert masked(url) == url
    assert masked_text(url) == url


def test_names_are_matched_by_their_words() -> None:
    """Snake, kebab and camel case; never a part of a word."""
    assert all(map(secret_name, ("api_key", "apiKey", "API_KEY", "db-password", "authToken", "AWSSecret", "key")))
    assert not any(map(secret_name, ("monkey", "keyboard", "tokenizer", "passes", "author", "secretary", "")))


@pytest.mark.parametrize(
    "name",
    [
        *("api_token", "TOKEN_2", "DB_PASS", "PGPASSWORD", "AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "key1"),
        *("apikey", "apiKeys", "access_tokens", "passwords", "credentials", "password_binance", "client-secret"),
    ],
)
def test_names_of_secrets(name: str) -> None:
    """As variables and parameters have them, in the singular and in the plural."""
    assert secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        *("key_level", "keyLevels", "n_tokens", "max_tokens", "stop_tokens", "keys", "primary_key", "sort_key"),
        *("public_key", "low_pass", "band_pass", "token_symbol", "password_file", "token_url", "passive", "compass"),
    ],
)
def test_names_that_only_sound_like_secrets(name: str) -> None:
    """A level, a count, a column, a filter, a place."""
    assert not secret_name(name)


def test_secrets_in_a_table() -> None:
    """Texts and long numbers under the name of a secret, however deep, and URLs with one; the rest stays."""
    given = {
        "api_token": "abc",
        "bot_token": 110201543,
        "order_id": 110201543,
        "n_tokens": 5,
        "password": 12345,
        "secret": "",
        "key_level": "high",
        "db": {"user": "me", "password": "x"},
        "credentials": {"binance": ["k", "s", True]},
        "store": "postgresql://me:pw@host/db",
    }
    shown, found = mask_table(given)
    assert shown == {
        **given,
        "api_token": "***",
        "bot_token": "***",
        "db": {"user": "me", "password": "***"},
        "credentials": {"binance": ["***", "***", True]},
        "store": "***",
    }
    assert found == {
        "api_token": "abc",
        "bot_token": "110201543",
        "db.password": "x",
        "credentials.binance[0]": "k",
        "credentials.binance[1]": "s",
        "store": "postgresql://me:pw@host/db",
    }
    assert mask_table(shown) == (shown, dict.fromkeys(found, "***"))


@pytest.mark.parametrize("url", SECRETS)
@pytest.mark.parametrize("place", ["tracking.uri", "tracking.ui_url", "data.source", "benchmark.source"])
def test_a_spec_refuses_secrets(url: str, place: str) -> None:
    """They would be sealed: refused in the file and in an override, with the way out, and not repeated."""
    section, key = place.split(".")
    for parse in (
        lambda: RunSpec.from_mapping({section: {key: url}}),
        lambda: parse_spec(b"", {place: url}),
        lambda: SweepSpec.from_mapping({section: {key: url}, "space": {"fast": [5, 10]}}),
    ):
        with pytest.raises(SpecError, match=rf"{place}: .*MLFLOW_TRACKING_URI") as caught:
            parse()
        assert url not in str(caught.value)


@pytest.mark.parametrize(
    "place",
    [
        "run.name", "run.experiment", "run.tags.store", "data.symbol", "benchmark.label", "report.template",
        "strategy.family", "strategy.params.feed", "space.feed.values",
    ],
)  # fmt: skip
def test_no_text_of_a_spec_may_be_an_address_with_a_secret(place: str) -> None:
    """All of a spec is sealed but the parameters of the notebook, which are masked; an address without one is fine."""
    for text, refused in (("see postgresql://me:pw-7@host/db", True), ("see postgresql://me@host/db", False)):
        values: dict[str, Any] = {"space": {"fast": [5, 10]}} if place.startswith("s") else {}
        set_dotted(values, place, [text, "x"] if place.endswith("values") else text)
        read = SweepSpec if {"sweep", "space"} & {*values} else RunSpec
        if refused:
            with pytest.raises(SpecError, match=rf"{place}.*: the password or token in this address") as caught:
                read.from_mapping(values)
            assert "pw-7" not in str(caught.value)
        else:
            read.from_mapping(values)
    with pytest.raises(SpecError, match="see postgresql://me:") as caught:
        SweepSpec.from_mapping({"sweep": {"name": "see postgresql://me:pw-7@host/db"}, "space": {"fast": [5, 10]}})
    assert "pw-7" not in str(caught.value)
    RunSpec.from_mapping({"run": {"parameters": {"store": "postgresql://me:pw-7@host/db"}}})


@pytest.mark.parametrize("url", ["postgresql://me:pw@host/db", "https://host/x?token=abc"])
def test_a_study_s_storage_is_refused_likewise(url: str) -> None:
    """Its way out is a variable."""
    with pytest.raises(SpecError, match="env:NAME") as caught:
        SweepSpec.from_mapping({"sweep": {"storage": url}, "space": {"fast": [5, 10]}})
    assert url not in str(caught.value)


def test_a_link_has_no_user() -> None:
    """A link to MLflow's interface opens without the password that the tracking URI has; `ui_url` goes before it."""
    assert run_url("http://me:pw@host:5000/?token=x", None, "1", "abc") == "http://host:5000/#/experiments/1/runs/abc"
    assert run_url("http://me:pw@host", "https://ui/x/", "1", "abc") == "https://ui/x/#/experiments/1/runs/abc"
    assert run_url("sqlite:///mlflow.db", None, "1", "abc") is None
