"""Devices and peers that really speak their protocol, for trying out, tests and benchmarks."""
