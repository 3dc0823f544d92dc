"""Thin ctypes layer on libiec61850: values, client, dynamic model, server.

Everything here runs in worker processes only. What another thread calls back into us catches every error of
ours, for the library knows no exceptions; ``CFUNCTYPE`` objects live as long as what they are installed in.
"""
