"""The real servers that the relay's tests talk to: one class each, installed from the package registries into a cache, started on
free loopback ports. See ../README.md."""
