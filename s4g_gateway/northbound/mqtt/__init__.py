"""MQTT: the site's values to an event broker as SenML, set-points and requests back in.

Source: Storage4Grid D3.1 §4.1.8 (EB#LESSAg) and §4.1.17 (EB#SMX).
"""

from s4g_gateway.northbound.mqtt.config import MqttConfig, MqttTls
from s4g_gateway.northbound.mqtt.connector import MQTT, MqttConnector

__all__ = ["MQTT", "MqttConfig", "MqttConnector", "MqttTls"]
