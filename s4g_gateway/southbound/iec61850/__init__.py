"""The ``iec61850`` connector: servers such as the energy router of D3.1, through a worker."""

from s4g_gateway.southbound.iec61850.connector import IEC61850, Iec61850Config, Iec61850Connector

__all__ = ["IEC61850", "Iec61850Config", "Iec61850Connector"]
