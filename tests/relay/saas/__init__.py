"""A stand-in for the services that outlier-relay sends to: strict about the contract, able to fail in every way that they can.

One process (`python3 -m saas`), one port for each vendor (each is a host of its own in the world), one port for control. Tests hold it by
`client.Saas`. `wire.py` is HTTP/1.1, `core.py` what vendors are made of, `check.py` and `otlp.py` the schemas, `faults.py` what goes wrong,
`server.py` brings them together, `vendors/` has one file for each vendor and one line for each in its `__init__.py`.

    from saas.fixtures import saas          # in a test file; or: with Saas(tls=authority.server()) as saas
    url, key = saas.url("pagerduty", "/v2/enqueue"), saas.key("pagerduty")
    saas.fault("pagerduty", "throttle", times=3, retry_after=2)
    saas.wait_for_requests("pagerduty", 4)
    assert saas.violations() == [] and saas.state("pagerduty")["keys"][key]["open"] == ["feed:1"]

A request is checked against the contract first, whatever fault follows: what a right sender never sends is a violation. A revoked key, an
event that is too old or a stream that is not there is refused without being one. Each vendor's `state` is what the real one would hold.

Where a vendor's file says UNVERIFIED, the behaviour is known from hearsay only: a test that leans on it proves less.
"""
