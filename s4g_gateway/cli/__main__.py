"""``python -m s4g_gateway.cli``: the ``s4g`` command where it is not on the path."""

from s4g_gateway.cli import main

main()
