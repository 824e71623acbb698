"""Upload through an MQTT 5 broker, with confirmation by the collector.

A broker may lose a message after acknowledging it. The collector therefore replies once a batch is
on its disk, with the request/response pattern of MQTT 5 (section 4.10 of
https://docs.oasis-open.org/mqtt/mqtt/v5.0/mqtt-v5.0.html) on a reply topic per connection.
"""

import secrets
import time
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import urlsplit

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from pydantic import Field, SecretStr

from ..settings import Settings
from .json_http import MAX_REPLY_BYTES, parse_reply
from .settings import UploadSettings, check_encrypted

PORTS = {"mqtt": 1883, "mqtts": 8883}  # as registered with IANA
# The broker closes a connection after 1.5 times this without traffic. The value is uncritical,
# because each batch has its own timeout.
KEEPALIVE_S = 30


class BrokerSettings(Settings):
    """Variables of the MQTT broker."""

    mqtt_user: str = Field("", description="User name at the broker; empty: connect without login.")
    mqtt_password: SecretStr = Field(SecretStr(""), description="Password of that user.")
    mqtt_ca_file: str = Field(
        "",
        description="File with the CA certificate of the broker, for mqtts://; empty: the CA "
        "certificates of the system.",
        examples=["/etc/ssl/broker.pem"],
    )


class MqttError(OSError):
    """A refusal: `code` is the reason of the broker, or the HTTP status of the collector."""

    def __init__(self, code: object, detail: object = "") -> None:
        super().__init__(f"{code} {detail}")
        self.code = str(code)


def create_client(
    url: str, max_bytes: int, id: str = "", timeout_s: float = 10, **options: Any
) -> tuple[Client, str]:
    """Return a client that is not connected yet, and the topic of `mqtts://host:port/topic`."""
    parts = urlsplit(url)
    version = MQTTProtocolVersion.MQTTv5
    client = Client(CallbackAPIVersion.VERSION2, id, protocol=version, **options)
    settings = BrokerSettings.read()
    if settings.mqtt_user:
        check_encrypted(url)
        client.username_pw_set(settings.mqtt_user, settings.mqtt_password.get_secret_value())
    if parts.scheme == "mqtts":
        client.tls_set(settings.mqtt_ca_file or None)
    client.connect_timeout = timeout_s
    limit = Properties(PacketTypes.CONNECT)
    limit.MaximumPacketSize = max_bytes  # of the packets that the broker sends
    port = parts.port or PORTS[parts.scheme]
    client.connect_async(parts.hostname or "", port, KEEPALIVE_S, properties=limit)
    return client, parts.path.strip("/")


class Connection:
    """A connection to the broker, opened for the first batch and reopened after a failure."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._client: Client | None = None
        self._topic = ""
        self._reply_topic = ""
        # Filled by the client's thread: messages, errors, and None when the subscription is active.
        self._received: SimpleQueue[Any] = SimpleQueue()

    def post(self, body: bytes) -> dict[str, list[str]]:
        """Send a batch and return the reply of the collector.

        Raises:
            OSError: no connection, no reply in time, or a refusal.
        """
        try:
            return self._request(body, self._client or self._connect())
        except BaseException:
            # Reconnect: a late reply to this batch must not be read as the reply to the next one.
            if self._client:
                self._client.disconnect()
                self._client = None
            raise

    def _connect(self) -> Client:
        id = secrets.token_hex(8)
        client, self._topic = create_client(
            self._url,
            MAX_REPLY_BYTES,
            id,
            self._timeout_s,
            reconnect_on_failure=False,  # `retry.keep_working` decides when to retry
        )
        self._reply_topic = f"{self._topic}/replies/{id}"
        received = SimpleQueue[Any]()  # a new queue: the old client may still write to the old one

        def on_connect(
            _: Client, data: object, flags: object, reason: Any, properties: object
        ) -> None:
            if reason.is_failure:
                received.put(MqttError(reason))
            else:
                client.subscribe(self._reply_topic, qos=1)

        def on_subscribe(
            _: Client, data: object, id: int, reasons: Any, properties: object
        ) -> None:
            received.put(MqttError(reasons[0]) if reasons[0].is_failure else None)

        def on_publish(_: Client, data: object, id: int, reason: Any, properties: object) -> None:
            if reason.value:  # no collector has subscribed, or this device has no permission
                received.put(MqttError(reason))

        client.on_connect = on_connect
        client.on_subscribe = on_subscribe
        client.on_publish = on_publish
        client.on_message = lambda _, data, message: received.put(message)
        client.on_disconnect = lambda _, data, flags, reason, about: received.put(MqttError(reason))
        self._client = client
        self._received = received
        client.reconnect()
        client.loop_start()
        self._receive(time.monotonic() + self._timeout_s)
        return client

    def _request(self, body: bytes, client: Client) -> dict[str, list[str]]:
        token = secrets.token_bytes(16)
        properties = Properties(PacketTypes.PUBLISH)
        properties.ResponseTopic = self._reply_topic
        properties.CorrelationData = token
        if key := UploadSettings.read().read_key():
            check_encrypted(self._url)
        properties.UserProperty = ("x-api-key", key)
        client.publish(self._topic, body, qos=1, properties=properties)
        until_s = time.monotonic() + self._timeout_s
        while True:
            message = self._receive(until_s)
            if message and getattr(message.properties, "CorrelationData", b"") == token:
                reply = parse_reply(bytes(message.payload))
                if not isinstance(reply, dict) or not isinstance(reply.get("status"), int):
                    raise ValueError("the reply has no status")
                if reply["status"] != 200:
                    raise MqttError(reply["status"], str(reply.get("detail"))[:500])
                return reply

    def _receive(self, until_s: float) -> MQTTMessage | None:
        """Return the next message from the client's thread.

        Raises:
            OSError: the client failed, or the time is up.
        """
        try:
            received = self._received.get(timeout=max(0, until_s - time.monotonic()))
        except Empty:
            raise TimeoutError("no reply") from None
        if isinstance(received, Exception):
            raise received
        return received  # type: ignore[no-any-return]
