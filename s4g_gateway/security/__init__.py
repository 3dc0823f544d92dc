"""Who may do what: principals, roles and the access policy that the RealTimeDatabase enforces."""

from s4g_gateway.security.access import AccessPolicy, Action, Principal, Rule, default_policy, load_policy

__all__ = ["AccessPolicy", "Action", "Principal", "Rule", "default_policy", "load_policy"]
