"""Sends batches by an MQTT 5 broker, which is not trusted to keep any of them.

The collector itself answers, on a topic of each connection, once a batch is on its disk:
https://docs.oasis-open.org/mqtt/mqtt/v5.0/mqtt-v5.0.html, section 4.10 (request, response).
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
from .settings import UploadSettings

PORTS = {"mqtt": 1883, "mqtts": 8883}
KEEPALIVE_S = 30
MAX_REPLY_BYTES = 100_000


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


class Refused(OSError):
    """The broker or the collector says no; `code` is its reason, or an HTTP status."""

    def __init__(self, code: object, detail: object = "") -> None:
        super().__init__(f"{code} {detail}")
        self.code = str(code)


def client_of(
    url: str, max_bytes: int, id: str = "", timeout_s: float = 10, **how: Any
) -> tuple[Client, str]:
    """Return a client that is not connected yet, and the topic of `mqtts://host:port/topic`.

    `<PACKAGE>_MQTT_USER` and `_MQTT_PASSWORD` log in; `_MQTT_CA_FILE` knows a broker with TLS.
    """
    place = urlsplit(url)
    version = MQTTProtocolVersion.MQTTv5
    client = Client(CallbackAPIVersion.VERSION2, id, protocol=version, **how)
    settings = BrokerSettings.read()
    if settings.mqtt_user:
        client.username_pw_set(settings.mqtt_user, settings.mqtt_password.get_secret_value())
    if place.scheme == "mqtts":
        client.tls_set(settings.mqtt_ca_file or None)
    client.connect_timeout = timeout_s
    limit = Properties(PacketTypes.CONNECT)
    limit.MaximumPacketSize = max_bytes
    port = place.port or PORTS[place.scheme]
    client.connect_async(place.hostname or "", port, KEEPALIVE_S, properties=limit)
    return client, place.path.strip("/")


class Link:
    """A connection to the broker, made when it is needed, and anew after whatever fails."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self._url, self._timeout_s = url, timeout_s
        self._client: Client | None = None
        self._topic = self._reply_topic = ""
        self._news: SimpleQueue[Any] = SimpleQueue()  # from the thread of the client

    def post(self, body: bytes) -> dict[str, list[str]]:
        """Send a batch; return what the collector says about it.

        Raises:
            OSError: no broker, no answer in time, or a refusal.
        """
        try:
            return self._asked(body, self._client or self._connect())
        except BaseException:
            if self._client:  # what it still has to say is of no use
                self._client.disconnect()
                self._client = None
            raise

    def _connect(self) -> Client:
        id = secrets.token_hex(8)
        how: dict[str, Any] = {"reconnect_on_failure": False}
        client, self._topic = client_of(self._url, MAX_REPLY_BYTES, id, self._timeout_s, **how)
        self._reply_topic, news = f"{self._topic}/replies/{id}", SimpleQueue[Any]()

        def on_connect(_: Client, data: object, flags: object, reason: Any, about: object) -> None:
            if reason.is_failure:
                news.put(Refused(reason))
            else:
                client.subscribe(self._reply_topic, qos=1)

        def on_subscribe(_: Client, data: object, id: int, reasons: Any, about: object) -> None:
            news.put(Refused(reasons[0]) if reasons[0].is_failure else None)

        def on_publish(_: Client, data: object, id: int, reason: Any, about: object) -> None:
            if reason.value:  # nobody subscribes to it, or this device may not write there
                news.put(Refused(reason))

        client.on_connect, client.on_subscribe = on_connect, on_subscribe
        client.on_publish = on_publish
        client.on_message = lambda _, data, message: news.put(message)
        client.on_disconnect = lambda _, data, flags, reason, about: news.put(Refused(reason))
        self._client, self._news = client, news
        client.reconnect()
        client.loop_start()
        self._heard(time.monotonic() + self._timeout_s)
        return client

    def _asked(self, body: bytes, client: Client) -> dict[str, list[str]]:
        about = Properties(PacketTypes.PUBLISH)
        about.ResponseTopic = self._reply_topic
        about.CorrelationData = token = secrets.token_bytes(16)
        about.UserProperty = ("x-api-key", UploadSettings.read().upload_key.get_secret_value())
        client.publish(self._topic, body, qos=1, properties=about)
        until_s = time.monotonic() + self._timeout_s
        while True:
            message = self._heard(until_s)
            if message and getattr(message.properties, "CorrelationData", b"") == token:
                reply: dict[str, Any] = json.loads(message.payload)
                if reply["status"] != 200:
                    raise Refused(reply["status"], reply.get("detail"))
                return reply

    def _heard(self, until_s: float) -> MQTTMessage | None:
        """Wait for what the broker says next; None is that replies can come."""
        try:
            news = self._news.get(timeout=max(0, until_s - time.monotonic()))
        except Empty:
            raise TimeoutError("no answer") from None
        if isinstance(news, Exception):
            raise news
        return news  # type: ignore[no-any-return]
