"""The collector's ear at an MQTT broker: a batch is answered once it is on the collector's disk."""

import json
import sys
from collections.abc import Callable
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from ..device.mqtt import client_of
from ..device.wire_format import MAX_BATCH_BYTES

Take = Callable[[bytes, str], tuple[int, dict[str, Any]]]
MAX_PAUSE_S = 30  # between two tries to reach the broker


def subscribe(url: str, take: Take) -> Client:
    """Pass what comes, with its key, to `take`, for as long as the process lives.

    While this is away the broker keeps nothing for it: no answer comes, and devices send again.
    """
    client, topic = client_of(url, 2 * MAX_BATCH_BYTES)

    def on_connect(_: Client, data: object, flags: object, reason: Any, about: object) -> None:
        print(f"Broker of {topic}: {reason}", file=sys.stderr, flush=True)
        if not reason.is_failure:
            client.subscribe(topic, qos=1)

    def is_away(*_: object) -> None:
        print(f"Broker of {topic}: no connection", file=sys.stderr, flush=True)

    def on_message(_: Client, data: object, message: MQTTMessage) -> None:
        asked: Any = message.properties
        if not asked.ResponseTopic.startswith(f"{topic}/replies/"):
            return  # replies go to devices, and to nobody else
        status, said = take(bytes(message.payload), dict(asked.UserProperty).get("x-api-key", ""))
        about = Properties(PacketTypes.PUBLISH)
        about.CorrelationData = asked.CorrelationData
        client.publish(asked.ResponseTopic, json.dumps({"status": status} | said), properties=about)

    client.on_connect, client.on_message = on_connect, on_message
    client.on_connect_fail = client.on_disconnect = is_away
    client.suppress_exceptions = True  # they are logged; no message may end the thread
    client.enable_logger()
    client.reconnect_delay_set(1, MAX_PAUSE_S)
    client.loop_start()
    return client
