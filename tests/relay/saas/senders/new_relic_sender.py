"""New Relic's Telemetry SDK: events one by one and in a batch, gzipped; one with a reserved type, and a key that is wrong."""

import json
import sys

from newrelic_telemetry_sdk import Event, EventClient

question = json.load(sys.stdin)


class AccountsEvents(EventClient):
    """Its own path leaves the account to the key; documented is the one with it, and sent there."""

    PATH = f"/v1/accounts/{question['account']}/events"


def client(key: str) -> EventClient:
    return AccountsEvents(key, host="127.0.0.1", port=question["port"], ca_certs=question["ca"])


told = {}
good = client(question["key"])
told["one"] = good.send(Event("OutlierIncident", tags={"incident": "feed:1", "score": 61.5}, timestamp_ms=question["now_ms"])).status
batch = [Event("OutlierIncident", tags={"incident": f"feed:{n}"}, timestamp_ms=question["now_ms"]) for n in (2, 3)]
told["batch"] = good.send_batch(batch).status
told["type"] = good.send(Event("no such type!", timestamp_ms=question["now_ms"])).status
told["wrong key"] = client("0" * 40).send(Event("OutlierIncident", timestamp_ms=question["now_ms"])).status
print(json.dumps(told))
