"""Receive batches from an MQTT broker, and reply when they are on the collector's disk."""

import json
import sys
from collections.abc import Callable
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from ..device.mqtt import create_client
from ..device.retry import LastingThread
from ..device.wire_format import MAX_BATCH_BYTES

Receive = Callable[[bytes | None, str], tuple[int, dict[str, Any]]]  # batch, key -> status, reply
# The longest pause between attempts to connect. Devices pause for up to 60 s, so the collector is
# usually back first.
MAX_PAUSE_S = 30


class Subscription(LastingThread):
    """The thread that receives messages, until the client disconnects on purpose."""

    def __init__(self, client: Client) -> None:
        super().__init__("broker")
        self._client = client

    def work(self) -> None:
        self._client.loop_forever(retry_first_connection=True)
        self.stop.set()


def subscribe(url: str, receive: Receive) -> Client:
    """Pass each batch and its key to `receive`, in the background.

    While the collector is not connected the broker stores nothing for it; devices get no reply and
    send again.
    """
    # Twice the limit, because a batch that is too large should get a reply with the reason.
    client, topic = create_client(url, 2 * MAX_BATCH_BYTES)

    def on_connect(_: Client, data: object, flags: object, reason: Any, properties: object) -> None:
        print(f"Broker of {topic}: {reason}", file=sys.stderr, flush=True)
        if not reason.is_failure:
            client.subscribe(topic, qos=1)

    def on_disconnect(*_: object) -> None:
        print(f"Broker of {topic}: no connection", file=sys.stderr, flush=True)

    def on_message(_: Client, data: object, message: MQTTMessage) -> None:
        request: Any = message.properties
        # A device names the topic for the reply. Check it, or any client could make the collector
        # publish to topics that the client itself may not use.
        if not getattr(request, "ResponseTopic", "").startswith(f"{topic}/replies/"):
            return
        key = dict(getattr(request, "UserProperty", [])).get("x-api-key", "")
        status, reply = receive(bytes(message.payload), key)
        properties = Properties(PacketTypes.PUBLISH)
        properties.CorrelationData = getattr(request, "CorrelationData", b"")
        content = json.dumps({"status": status} | reply)
        client.publish(request.ResponseTopic, content, properties=properties)

    client.on_connect = on_connect
    client.on_message = on_message
    client.on_connect_fail = on_disconnect
    client.on_disconnect = on_disconnect
    client.suppress_exceptions = True  # logged by the next line; no message may end the thread
    client.enable_logger()
    client.reconnect_delay_set(1, MAX_PAUSE_S)
    Subscription(client).start()
    return client
