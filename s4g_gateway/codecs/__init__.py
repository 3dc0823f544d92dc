"""Bytes to typed messages and back, one package per standard; pure, no meaning attached."""
