"""CloudEvents' and Standard Webhooks' own libraries: an event in structured form, signed."""

import json
import sys
import urllib.error
import urllib.request
from datetime import datetime, timezone

from cloudevents.core.bindings.http import to_structured_event
from cloudevents.core.v1.event import CloudEvent
from standardwebhooks.webhooks import Webhook

question = json.load(sys.stdin)
now = datetime.now(timezone.utc)
attributes = {
    "specversion": "1.0", "id": "1", "source": "//web-1/outlierd", "type": "io.outlier.incident.opened.v1", "subject": "incident/1",
    "time": now,
    "datacontenttype": "application/json", "severity": "critical",
}  # fmt: skip
message = to_structured_event(CloudEvent(attributes=attributes, data={"score": 93}))
body = message.body.decode() if isinstance(message.body, bytes) else message.body
headers = dict(message.headers)
told = {"type": {name.lower(): value for name, value in headers.items()}["content-type"]}
for name, secret in question["secrets"].items():
    signature = Webhook(secret).sign("msg_1", now, body)
    signed = headers | {"webhook-id": "msg_1", "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": signature}
    request = urllib.request.Request(question["url"], body.encode(), signed, method="POST")
    try:
        told[name] = urllib.request.urlopen(request, timeout=10).status
    except urllib.error.HTTPError as error:
        told[name] = error.code
json.dump(told, sys.stdout)
