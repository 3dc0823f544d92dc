import pytest
from hypothesis import given
from hypothesis import strategies as st

from s4g_gateway.interfaces import (
    Kind,
    TopicError,
    TopicKind,
    load_catalogue,
    parse_topic,
    topic,
    topic_filter,
)

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9-]{0,62}", fullmatch=True)
MESSAGES = list(load_catalogue().messages())


@pytest.mark.parametrize(
    ("text", "kind", "publisher"),
    [
        ("s4g/v1/bolzano-1/usm-0/lessag-eb/measurement", TopicKind.STATE, "usm-0"),
        ("s4g/v1/bolzano-1/usm-0/gesscon-lessag/command/gesscon-1", TopicKind.COMMAND, "gesscon-1"),
        ("s4g/v1/bolzano-1/usm-0/gesscon-lessag/command-answer", TopicKind.ANSWER, "usm-0"),
        ("s4g/v1/bolzano-1/usm-0/gui-lessag/lessag-variables/gui-7", TopicKind.REQUEST, "gui-7"),
        ("s4g/v1/bolzano-1/usm-0/gui-lessag/lessag-variables", TopicKind.STATE, "usm-0"),
    ],
)
def test_a_topic_taken_apart(text, kind, publisher):
    found = parse_topic(text)
    assert (found.site, found.node, found.kind, found.publisher) == ("bolzano-1", "usm-0", kind, publisher)
    assert str(found) == text


@given(names, names, names, st.sampled_from(MESSAGES), st.booleans())
def test_every_topic_is_read_back(site, node, sender, message, asked):
    command = message.kind is Kind.COMMAND
    sent = command or (message.kind is Kind.REQUEST and asked)
    interface = load_catalogue().by_slug[message.interface]
    text = topic(site, node, interface, message, sender=sender if sent else None)
    found = parse_topic(text)
    assert (found.site, found.node, found.message) == (site, node, message)
    assert found.sender == (sender if sent else "")
    assert text == topic(site, node, message.interface, message.slug, sender=sender if sent else None)
    if command:
        answer = parse_topic(topic(site, node, interface, f"{message.slug}-answer"))
        assert (answer.kind, answer.message) == (TopicKind.ANSWER, message)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected s4g/v1"),
        ("s4g/v2/a/b/lessag-eb/status", "expected s4g/v1"),
        ("/s4g/v1/a/b/lessag-eb/status", "expected s4g/v1"),
        ("s4g/v1/a/b/lessag-eb", "expected s4g/v1"),
        ("s4g/v1/a/b/lessag-eb/status/x/y", "expected s4g/v1"),
        ("s4g/v1//b/lessag-eb/status", "site is ''"),
        ("s4g/v1/-a/b/lessag-eb/status", "site is '-a'"),
        ("s4g/v1/a_b/b/lessag-eb/status", "site is 'a_b'"),
        ("s4g/v1/a/+/lessag-eb/status", r"node is '\+'"),
        ("s4g/v1/a/b\n/lessag-eb/status", "node is"),
        (f"s4g/v1/a/{'b' * 64}/lessag-eb/status", "node is"),
        ("s4g/v1/a/é/lessag-eb/status", "node is"),
        ("s4g/v1/a/b/gesscon-lessag/command/#", "sender is '#'"),
        ("s4g/v1/a/b/gesscon-lessag/command/", "sender is ''"),
        ("s4g/v1/a/b/eb-lessag/status", "no interface 'eb-lessag'"),
        ("s4g/v1/a/b/lessag-eb/nonsense", "it has measurement, status"),
        ("s4g/v1/a/b/dso-scada-smx/measurement", "it has none"),
        ("s4g/v1/a/b/gesscon-lessag/command", "expected its sender last"),
        ("s4g/v1/a/b/lessag-eb/status/x", "expected no sender"),
        ("s4g/v1/a/b/lessag-eb/status-answer", "answer to commands only"),
        ("s4g/v1/a/b/gesscon-lessag/command-answer/x", "without sender"),
    ],
)
def test_what_is_no_topic_is_told(text, words):
    with pytest.raises(TopicError, match=words):
        parse_topic(text)


def test_a_name_with_a_slash_does_not_slip_into_another_level():
    with pytest.raises(TopicError):
        topic("a/b", "lessag-eb", "status", "x")
    with pytest.raises(TopicError):
        topic("a", "b/c", "lessag-eb", "status")


def test_filters():
    assert topic_filter() == "s4g/v1/+/+/+/+"
    assert topic_filter("bolzano-1", "usm-0", sender="+") == "s4g/v1/bolzano-1/usm-0/+/+/+"
    assert topic_filter(interface="lessag-eb", message="status") == "s4g/v1/+/+/lessag-eb/status"
    with pytest.raises(TopicError, match="topic filter"):
        topic_filter("#")
