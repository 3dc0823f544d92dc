import pytest

from s4g_gateway.errors import ConfigError
from s4g_gateway.runtime.listen import Listen, parse_listen


@pytest.mark.parametrize(
    ("text", "listen"),
    [
        ("127.0.0.1:9464", Listen(host="127.0.0.1", port=9464)),
        ("localhost:0", Listen(host="localhost", port=0)),
        ("[::1]:80", Listen(host="::1", port=80)),
    ],
)
def test_listen_addresses(text, listen):
    assert parse_listen(text) == listen


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("9464", "host:port"),
        ("127.0.0.1:99999", "host:port"),
        ("127.0.0.1:x", "host:port"),
        ("gateway.example:80", "IP address"),
        (":80", "IP address"),
        ("0.0.0.0:9464", "insecure = true"),
        ("192.0.2.1:9464", "insecure = true"),
    ],
)
def test_listen_addresses_that_are_refused(text, expected):
    with pytest.raises(ConfigError) as caught:
        parse_listen(text, file="site.toml")
    (problem,) = caught.value.problems
    assert (problem.file, problem.key) == ("site.toml", "site.metrics_listen")
    assert expected in problem.expected


def test_insecure_in_so_many_words_allows_other_machines():
    assert parse_listen("0.0.0.0:9464", insecure=True) == Listen(host="0.0.0.0", port=9464)
