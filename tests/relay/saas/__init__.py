"""A stand-in for the services that outlier-relay sends to: strict about the contract, able to fail in every way that they can.

One process (`python3 -m saas`), one port for each vendor (each is a host of its own in the world), one port for control. Tests hold it by
`client.Saas`. `wire.py` is HTTP/1.1, `core.py` what vendors are made of, `check.py` and `otlp.py` the schemas, `faults.py` what goes wrong,
`server.py` brings them together, `vendors/` has one file for each vendor and one line for each in its `__init__.py`.

Where a vendor's file says UNVERIFIED, the behaviour is known from hearsay only: a test that leans on it proves less.
"""
