"""Send batches through an MQTT 5 broker, which is not trusted to keep any of them.

A broker acknowledges a message that it may still lose. So the collector itself replies, on a topic
of this connection, once a batch is on its disk: request and response of MQTT 5, section 4.10 of
https://docs.oasis-open.org/mqtt/mqtt/v5.0/mqtt-v5.0.html.
"""

import json
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
from .json_http import MAX_REPLY_BYTES
from .settings import UploadSettings

PORTS = {"mqtt": 1883, "mqtts": 8883}  # as registered with IANA
# The broker drops a connection that was silent for 1.5 times this. No decision depends on it: each
# batch has a timeout of its own.
KEEPALIVE_S = 30


class BrokerSettings(Settings):
    """Variables of the MQTT broker."""

    mqtt_user: str = Field("", description="User name at the broker; without it, no login.")
    mqtt_password: SecretStr = Field(SecretStr(""), description="Password of that user.")
    mqtt_ca_file: str = Field(
        "",
        description="File with the certificate authority of a broker with TLS; without it, those "
        "of the system.",
        examples=["/etc/ssl/broker.pem"],
    )


class MqttError(OSError):
    """The broker or the collector refused; `code` is the broker's reason, or an HTTP status."""

    def __init__(self, code: object, detail: object = "") -> None:
        super().__init__(f"{code} {detail}")
        self.code = str(code)


def create_client(
    url: str, max_bytes: int, id: str = "", timeout_s: float = 10, **options: Any
) -> tuple[Client, str]:
    """Return a client that is not connected yet, and the topic of `mqtts://host:port/topic`.

    `<PACKAGE>_MQTT_USER` and `_MQTT_PASSWORD` log in; `_MQTT_CA_FILE` holds the certificate
    authority of a broker with TLS.
    """
    parts = urlsplit(url)
    version = MQTTProtocolVersion.MQTTv5
    client = Client(CallbackAPIVersion.VERSION2, id, protocol=version, **options)
    settings = BrokerSettings.read()
    if settings.mqtt_user:
        client.username_pw_set(settings.mqtt_user, settings.mqtt_password.get_secret_value())
    if parts.scheme == "mqtts":
        client.tls_set(settings.mqtt_ca_file or None)
    client.connect_timeout = timeout_s
    limit = Properties(PacketTypes.CONNECT)
    limit.MaximumPacketSize = max_bytes  # the broker must not send more
    port = parts.port or PORTS[parts.scheme]
    client.connect_async(parts.hostname or "", port, KEEPALIVE_S, properties=limit)
    return client, parts.path.strip("/")


class BrokerConnection:
    """A connection to the broker: opened at the first batch, and again after any failure."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._client: Client | None = None
        self._topic = ""
        self._reply_topic = ""
        # Filled by the thread of the client: messages, errors, and None once replies can come.
        self._received: SimpleQueue[Any] = SimpleQueue()

    def post(self, body: bytes) -> dict[str, list[str]]:
        """Send a batch and return the reply of the collector.

        Raises:
            OSError: no broker, no reply in time, or a refusal.
        """
        try:
            return self._request(body, self._client or self._connect())
        except BaseException:
            # A late reply to this batch must not be read as the reply to the next one.
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
            reconnect_on_failure=False,  # `retry.keep_working` decides when to try again
        )
        self._reply_topic = f"{self._topic}/replies/{id}"
        received = SimpleQueue[Any]()  # a new one: the old client may still add to the old one

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
            if reason.value:  # no collector has subscribed, or this device may not publish there
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
        key = UploadSettings.read().upload_key.get_secret_value()
        properties.UserProperty = ("x-api-key", key)
        client.publish(self._topic, body, qos=1, properties=properties)
        until_s = time.monotonic() + self._timeout_s
        while True:
            message = self._receive(until_s)
            if message and getattr(message.properties, "CorrelationData", b"") == token:
                reply: dict[str, Any] = json.loads(message.payload)
                if reply["status"] != 200:
                    raise MqttError(reply["status"], reply.get("detail"))
                return reply

    def _receive(self, until_s: float) -> MQTTMessage | None:
        """Wait for what the thread of the client received next.

        Raises:
            OSError: the client failed, or the time is over.
        """
        try:
            received = self._received.get(timeout=max(0, until_s - time.monotonic()))
        except Empty:
            raise TimeoutError("no answer") from None
        if isinstance(received, Exception):
            raise received
        return received  # type: ignore[no-any-return]
