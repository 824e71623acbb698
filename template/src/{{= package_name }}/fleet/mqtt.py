"""Receive batches through an MQTT broker, and reply once they are on the collector's disk."""

import json
import sys
from collections.abc import Callable
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from ..device.mqtt import create_client
from ..device.wire_format import MAX_BATCH_BYTES

Receive = Callable[[bytes, str], tuple[int, dict[str, Any]]]  # a batch and a key to a reply
# Between two attempts to reach the broker, at most. A broker that is back has its collector within
# 30 s, before most devices, which pause for up to 60 s.
MAX_PAUSE_S = 30


def subscribe(url: str, receive: Receive) -> Client:
    """Pass each batch, with its key, to `receive`, for as long as the process lives.

    The broker keeps nothing for a collector that is away: no reply comes, and devices send again.
    """
    # Twice the limit, so that a batch that is too large is refused with a reason.
    client, topic = create_client(url, 2 * MAX_BATCH_BYTES)

    def on_connect(_: Client, data: object, flags: object, reason: Any, properties: object) -> None:
        print(f"Broker of {topic}: {reason}", file=sys.stderr, flush=True)
        if not reason.is_failure:
            client.subscribe(topic, qos=1)

    def on_disconnect(*_: object) -> None:
        print(f"Broker of {topic}: no connection", file=sys.stderr, flush=True)

    def on_message(_: Client, data: object, message: MQTTMessage) -> None:
        request: Any = message.properties
        # A device names the topic of the reply. Only its own is allowed: otherwise any client could
        # make the collector publish where it may not publish itself.
        if not request.ResponseTopic.startswith(f"{topic}/replies/"):
            return
        key = dict(request.UserProperty).get("x-api-key", "")
        status, reply = receive(bytes(message.payload), key)
        properties = Properties(PacketTypes.PUBLISH)
        properties.CorrelationData = request.CorrelationData
        content = json.dumps({"status": status} | reply)
        client.publish(request.ResponseTopic, content, properties=properties)

    client.on_connect = on_connect
    client.on_message = on_message
    client.on_connect_fail = on_disconnect
    client.on_disconnect = on_disconnect
    client.suppress_exceptions = True  # logged below; no message may end the thread
    client.enable_logger()
    client.reconnect_delay_set(1, MAX_PAUSE_S)
    client.loop_start()
    return client
