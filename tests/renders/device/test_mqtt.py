"""Upload through a mosquitto broker: each decision arrives exactly once, despite kills."""

import json
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import Render
from containers import free_port
from everyday import every_nth
from test_outbox import (
    DEVICE,
    SHORT_AND_LONG,
    TIMEOUT_S,
    collector,
    delivered,
    device,
    dropped,
    end,
    logged,
    put,
    settings,
    start,
    until,
    waiting,
)

Broker = Callable[[], Any]


@pytest.fixture
def folder(render: Render, tmp_path: Path) -> Path:
    """Return a project that uploads through a broker, with a small outbox."""
    folder = tmp_path / "repo"
    shutil.copytree(render(modality="tabular", target="edge", uplink="mqtt"), folder)
    port = free_port()
    settings(folder, "outbox_mb: 8", "outbox_mb: 1")
    settings(folder, 'upload_url: ""', f"upload_url: mqtt://127.0.0.1:{port}/fleet/events")
    (folder / "broker").mkdir()
    (folder / "broker/settings").write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\nuser root\n"
        f"persistence true\npersistence_location {folder}/broker/\n"  # defaults for everything else
    )
    return folder


@pytest.fixture
def broker(folder: Path) -> Iterator[Broker]:
    """Return a function that starts a broker."""
    program = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if not program:
        pytest.skip("NOT TESTED: MQTT, because mosquitto is not installed")
    started = []

    def begin() -> Any:
        command = [program, "-c", str(folder / "broker/settings")]
        with (folder / "broker/log").open("ab") as log:
            started.append(subprocess.Popen(command, stdout=log, stderr=log))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.parametrize("rounds", SHORT_AND_LONG)
def test_kills_of_device_broker_and_collector_lose_no_event(
    folder: Path, broker: Broker, rounds: int
) -> None:
    rng = random.Random(rounds)
    running: dict[str, Any] = {}
    begin: dict[str, Callable[[], Any]] = {
        "broker": broker,
        "collector": lambda: collector(folder)[0],
        "device": lambda: device(folder, 10**6, PAUSE_S="0.002"),
    }
    try:
        running |= {name: start() for name, start in begin.items()}
        for _ in range(rounds):
            for name in rng.sample([*begin], k=3):
                got, before = len(delivered(folder)), len(logged(folder))
                until(lambda got=got: len(delivered(folder)) > got)
                until(lambda before=before: len(logged(folder)) > before)
                time.sleep(rng.uniform(0, 0.3))
                end(running[name])
                time.sleep(rng.uniform(0, 0.1))
                kept = set(delivered(folder)) | set(waiting(folder))
                if name == "device":  # while others are down, the device continues to put
                    assert set(logged(folder)) <= kept
                running[name] = begin[name]()
        end(running["device"])
        total = len(logged(folder)) + 10
        running["device"] = device(folder, total)
        until(lambda: len(logged(folder)) == total and not waiting(folder))
    finally:
        for process in running.values():
            end(process)
    assert delivered(folder) == logged(folder) == list(range(total))  # each exactly once
    assert dropped(folder) == 0 and total <= put(folder) <= total + rounds + 1


LOSE_REPLIES = """
import random, sys
from paho.mqtt.client import Client
publish, rng = Client.publish, random.Random(1)
Client.publish = lambda *a, **k: publish(*a, **k) if rng.random() > 0.3 else None
from scratch_detector import cli
from scratch_detector.fleet import collector
assert ", PRIMARY KEY (device, id)" in collector.TABLES
if sys.argv[1] == "forgetful":
    collector.TABLES = collector.TABLES.replace(", PRIMARY KEY (device, id)", "")
cli.run("collect")
"""


@pytest.mark.parametrize("kind", every_nth(2, ["as it is", "forgetful"]))
def test_each_event_is_stored_once_if_replies_are_lost(
    folder: Path, broker: Broker, kind: str
) -> None:
    """The red side is a collector without deduplication."""
    broker()
    server = start(folder, "-c", LOSE_REPLIES, kind, SCRATCH_DETECTOR_COLLECT_PORT="0")
    sender = device(folder, 1500)
    try:
        until(lambda: len(logged(folder)) == 1500 and not waiting(folder))
    finally:
        end(sender)
        end(server)
    got = delivered(folder)
    assert sorted(set(got)) == list(range(1500)) and dropped(folder) == 0
    assert (len(got) > 1500) == (kind == "forgetful")


# A device that trusts the acknowledgement (PUBACK) of a broker with a persistent session.
TRUST_BROKER = """
import json, runpy, sys
from scratch_detector.device import mqtt
def post(self, body):
    client = self._client or self._connect()
    client.on_publish = None
    client.publish(self._topic, body, qos=1).wait_for_publish(5)
    return {"stored": [json.loads(line)["id"] for line in body.split(b"\\n")[1:]]}
mqtt.Connection.post = post
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
SUBSCRIBE = """
import json, sys, time
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from scratch_detector.device.mqtt import create_client
from scratch_detector.scope import load_params
lasts = Properties(PacketTypes.CONNECT)
lasts.SessionExpiryInterval = 0xFFFFFFFF
client, topic = create_client(load_params().upload_url, 10**6, "the-collector")
ready, got = [], set()
client.on_connect = lambda *_: client.subscribe(topic, qos=1)
client.on_subscribe = lambda *_: ready.append(1)
client.on_message = lambda _, __, m: got.update(
    json.loads(line)["id"] for line in m.payload.split(b"\\n")[1:])
client.connect_async(client.host, client.port, clean_start=False, properties=lasts)
client.loop_start()
while not ready:
    time.sleep(0.05)
time.sleep(float(sys.argv[1]))
print(len(got))
"""


@pytest.mark.parametrize(("ends", "lost"), [("terminate", 0), ("kill", 200)])
def test_trusting_the_broker_loses_acknowledged_events(
    folder: Path, broker: Broker, ends: str, lost: int
) -> None:
    """The red side: mosquitto saves its queue only on a regular stop and every 30 minutes."""
    server = broker()
    assert start(folder, "-c", SUBSCRIBE, "0").wait(TIMEOUT_S) == 0
    sender = start(folder, "-c", TRUST_BROKER, DEVICE, "200")
    until(lambda: len(logged(folder)) == 200 and not waiting(folder))
    end(sender)
    getattr(server, ends)()
    server.wait()
    broker()
    late = start(folder, "-c", SUBSCRIBE, "2")
    assert 200 - int(late.communicate(timeout=TIMEOUT_S)[0]) == lost


def test_events_without_a_reply_stay_on_the_device(folder: Path, broker: Broker) -> None:
    """The same kill as above, with confirmation by the collector."""
    server = broker()
    sender = device(folder, 200)
    assert sender.stdout.readline() == "all are put\n"
    time.sleep(1)
    end(server)
    assert waiting(folder) == list(range(200))
    broker()
    receiver, _ = collector(folder)
    until(lambda: not waiting(folder))
    end(sender)
    end(receiver)
    assert delivered(folder) == list(range(200))


def test_requires_password_certificate_and_key(folder: Path, broker: Broker) -> None:
    place, port = folder / "broker", free_port()
    for command in (
        f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=b "
        f"-addext subjectAltName=IP:127.0.0.1 -keyout {place}/key.pem -out {place}/cert.pem",
        f"mosquitto_passwd -c -b {place}/users fleet secret",
    ):
        subprocess.run(command.split(), check=True, capture_output=True)
    (place / "settings").write_text(
        f"listener {port} 127.0.0.1\nuser root\npassword_file {place}/users\n"
        f"certfile {place}/cert.pem\nkeyfile {place}/key.pem\n"
    )
    text = (folder / "params.yaml").read_text()
    url = next(line for line in text.splitlines() if line.startswith("upload_url"))
    settings(folder, url, f"upload_url: mqtts://127.0.0.1:{port}/fleet/events")
    broker()
    variables = {
        "MQTT_USER": "fleet",
        "MQTT_PASSWORD": "secret",
        "MQTT_CA_FILE": f"{place}/cert.pem",
    }
    env = {f"SCRATCH_DETECTOR_{name}": value for name, value in variables.items()}
    receiver, _ = collector(folder, **env, SCRATCH_DETECTOR_COLLECT_KEYS="a-key")
    env |= {"SCRATCH_DETECTOR_UPLOAD_KEY": "a-key"}
    for name in ("MQTT_PASSWORD", "MQTT_CA_FILE", "UPLOAD_KEY"):
        without_one = env | {f"SCRATCH_DETECTOR_{name}": ""}
        sender = device(folder, len(logged(folder)) + 10, **without_one)
        assert sender.stdout.readline() == "all are put\n"
        time.sleep(1)
        end(sender)
        assert delivered(folder) == [] and waiting(folder) == logged(folder)
    sender = device(folder, 40, **env)
    until(lambda: len(delivered(folder)) == 40)
    end(sender)
    end(receiver)


def test_collector_survives_malformed_messages(folder: Path, broker: Broker) -> None:
    broker()
    receiver, _ = collector(folder)
    others = start(folder, "-c", SEND_MALFORMED)
    assert json.loads(others.communicate(timeout=TIMEOUT_S)[0]) == [413, 422]
    sender = device(folder, 10)
    until(lambda: len(delivered(folder)) == 10)
    end(sender)
    end(receiver)


SEND_MALFORMED = """
import json
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from scratch_detector.device.mqtt import Connection, MqttError
from scratch_detector.scope import load_params
connection = Connection(load_params().upload_url, 20)
client = connection._connect()
for topic in ("", "fleet/events/replies/+", "fleet/events", "elsewhere"):
    about = Properties(PacketTypes.PUBLISH)
    if topic:
        about.ResponseTopic = topic
    client.publish("fleet/events", b"\\xff", qos=1, properties=about).wait_for_publish(5)
codes = []
for body in (b"x" * 1_500_000, b"[" * 100_000):
    try:
        connection.post(body)
    except MqttError as error:
        codes.append(int(error.code))
print(json.dumps(codes))
"""


def test_project_without_mqtt_rejects_an_mqtt_url_at_start(render: Render, tmp_path: Path) -> None:
    folder = tmp_path / "repo"
    shutil.copytree(render(modality="tabular", target="edge"), folder)
    settings(folder, 'upload_url: ""', "upload_url: mqtt://127.0.0.1/fleet")
    for module, what in (
        ("fleet.collector", "collect()"),
        ("device.uploader", "Uploader(None, [])"),
    ):
        code = f"from scratch_detector.{module} import *; {what}"
        run = start(folder, "-c", code, stderr=subprocess.STDOUT)
        output = run.communicate(timeout=TIMEOUT_S)[0]
        assert run.returncode == 1 and "upload_url: got 'mqtt://127.0.0.1/fleet'" in output
        assert "Traceback" not in output
