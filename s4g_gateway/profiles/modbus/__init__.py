"""Registers of any Modbus device and the canonical model; pure."""
