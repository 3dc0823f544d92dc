import pytest

from s4g_gateway.errors import ConfigError
from s4g_gateway.security import Action, Principal, default_policy, load_policy

SCADA = Principal(name="scada", roles=frozenset({"SCADA"}))
VIEWER = Principal(name="viewer", roles=frozenset({"VIEWER"}))
NOBODY = Principal(name="nobody", roles=frozenset())


@pytest.mark.parametrize(
    ("principal", "action", "expected"),
    [
        (SCADA, Action.READ, True),
        (SCADA, Action.CONTROL, True),
        (VIEWER, Action.SUBSCRIBE, True),
        (VIEWER, Action.CONTROL, False),
        (NOBODY, Action.READ, False),
    ],
)
def test_default_policy(principal, action, expected):
    assert default_policy().allows(principal, action, "ESS1/DWGC1.WSpt") is expected


def test_rules_of_a_file_grant_by_pattern_and_everything_else_is_denied(tmp_path):
    path = tmp_path / "policy.toml"
    path.write_text(
        '[[rule]]\nroles = ["SCADA"]\nactions = ["read", "control"]\nreferences = ["ESS1/*", "*/MMXU1.*"]\n'
        '[[rule]]\nroles = ["VIEWER"]\nactions = ["read"]\n'
    )
    policy = load_policy(path)
    assert policy.allows(SCADA, Action.CONTROL, "ESS1/DWGC1.WSpt")
    assert policy.allows(SCADA, Action.READ, "PCC1/MMXU1.TotW")
    assert not policy.allows(SCADA, Action.READ, "PCC1/MMTR1.SupWh")
    assert not policy.allows(SCADA, Action.SUBSCRIBE, "ESS1/DWGC1.WSpt")
    assert policy.allows(VIEWER, Action.READ, "PCC1/MMTR1.SupWh")


def test_every_wrong_key_of_a_file_is_named(tmp_path):
    path = tmp_path / "policy.toml"
    path.write_text(
        'colour = 1\n[[rule]]\nroles = ["KING"]\nactions = ["rule"]\nreference = ["*"]\n[[rule]]\nroles = "SCADA"\n'
    )
    with pytest.raises(ConfigError) as caught:
        load_policy(path)
    keys = [problem.key for problem in caught.value.problems]
    assert keys == ["colour", "rule[0].reference", "rule[0].roles", "rule[0].actions", "rule[1].roles"]


@pytest.mark.parametrize("text", ["", "rule = 3", "[[rule"])
def test_a_file_without_rules_is_refused(tmp_path, text):
    path = tmp_path / "policy.toml"
    path.write_text(text)
    with pytest.raises(ConfigError):
        load_policy(path)
