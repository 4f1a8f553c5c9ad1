"""Results, alarms and health of a host over MQTT: `[hooks.mqtt] broker = "HOST:PORT"`, `spool = "FOLDER"`."""

from procvision_mqtt.plugin import Mqtt

__all__ = ["Mqtt"]
