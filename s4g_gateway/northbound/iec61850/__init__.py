"""IEC 61850 server (DSO-SCADA#SMX, DSO-SCADA#LESSAg): serves clients from the RealTimeDatabase by MMS."""

from s4g_gateway.northbound.iec61850.config import ClientTable, Iec61850Config
from s4g_gateway.northbound.iec61850.connector import Iec61850Server
from s4g_gateway.runtime.contract import ConnectorType

IEC61850 = ConnectorType(
    config=Iec61850Config,
    create=Iec61850Server,
    summary="IEC 61850 server (MMS) for SCADA clients",
)

__all__ = ["IEC61850", "ClientTable", "Iec61850Config", "Iec61850Server"]
