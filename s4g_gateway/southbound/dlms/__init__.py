"""The ``dlms`` connector."""

from s4g_gateway.southbound.dlms.config import DlmsConfig, DlmsMeterConfig, DlmsSecurity, SerialLine
from s4g_gateway.southbound.dlms.connector import DLMS, DlmsConnector

__all__ = ["DLMS", "DlmsConfig", "DlmsConnector", "DlmsMeterConfig", "DlmsSecurity", "SerialLine"]
