"""IEC 60870-5-104 outstation: serves control centres from the RealTimeDatabase."""

from s4g_gateway.northbound.iec104.config import GroupTable, Iec104Config, TlsConfig
from s4g_gateway.northbound.iec104.connector import Iec104Outstation
from s4g_gateway.runtime.contract import ConnectorType

IEC104 = ConnectorType(
    config=Iec104Config,
    create=Iec104Outstation,
    summary="IEC 60870-5-104 outstation for SCADA masters",
)

__all__ = ["IEC104", "GroupTable", "Iec104Config", "Iec104Outstation", "TlsConfig"]
