"""CloudWatch and CloudWatch Logs as moto (PyPI) serves them, with signatures and policies checked."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import urllib.parse
from pathlib import Path
from typing import Any

from .base import Server, free_port
from .cache import python_environment
from .rest import Answer, Rest
from .sigv4 import Credentials, signed_headers

# moto takes the service's name from the signature: what AWS calls cloudwatch:PutMetricData in policies is monitoring:PutMetricData here.
WRITER_ACTIONS = [
    "monitoring:PutMetricData",
    "logs:CreateLogGroup",
    "logs:CreateLogStream",
    "logs:DescribeLogGroups",
    "logs:DescribeLogStreams",
    "logs:PutLogEvents",
]
READER_ACTIONS = [
    "monitoring:ListMetrics",
    "monitoring:GetMetricStatistics",
    "logs:DescribeLogGroups",
    "logs:DescribeLogStreams",
    "logs:GetLogEvents",
]


class CloudWatch(Server):
    """Holds its state in memory only. `writer` may do what a relay needs, `reader` only read, `janitor` only
    delete log groups."""

    name = "cloudwatch"

    def __init__(self, folder: Path | None = None) -> None:
        super().__init__(folder)
        self.port = free_port()
        self.writer = self.reader = self.janitor = Credentials("", "")

    @classmethod
    def install(cls) -> Path:
        return python_environment("moto", Path(__file__).parent / "requirements-moto.txt")

    @functools.cached_property
    def rest(self) -> Rest:
        return Rest(f"http://127.0.0.1:{self.port}")

    def start(self) -> CloudWatch:
        super().start()
        self.writer = self._create_user("writer", WRITER_ACTIONS)
        self.reader = self._create_user("reader", READER_ACTIONS)
        self.janitor = self._create_user("janitor", ["logs:DeleteLogGroup"])
        return self

    def call(self, service: str, credentials: Credentials, body: bytes, headers: dict[str, str]) -> Answer:
        """A signed request. `service`: monitoring, logs or iam, as in the signature's scope."""
        return self.rest.post("/", body, signed_headers(credentials, service, self.url, body, headers))

    def metric(self, namespace: str, name: str, statistic: str = "Sum") -> list[float]:
        """The statistic by minute, oldest first."""
        answer = self._query(
            "monitoring",
            self.reader,
            {
                "Action": "GetMetricStatistics",
                "Version": "2010-08-01",
                "Namespace": namespace,
                "MetricName": name,
                "Statistics.member.1": statistic,
                "StartTime": "2000-01-01T00:00:00Z",
                "EndTime": "2100-01-01T00:00:00Z",
                "Period": "60",
            },
        )
        text = answer.expect(200).body.decode()
        points = re.findall(r"<member>(.*?)</member>", text, re.DOTALL)
        pairs = [(_element(point, "Timestamp"), float(_element(point, statistic))) for point in points]
        return [number for _, number in sorted(pairs)]

    def metric_names(self, namespace: str) -> set[str]:
        answer = self._query("monitoring", self.reader, {"Action": "ListMetrics", "Version": "2010-08-01", "Namespace": namespace})
        return set(re.findall(r"<MetricName>(.*?)</MetricName>", answer.expect(200).body.decode()))

    def log_events(self, group: str, stream: str) -> list[dict[str, Any]]:
        """The events (timestamp, message, ...) of a stream, oldest first."""
        wanted = {"logGroupName": group, "logStreamName": stream, "startFromHead": True}
        return list(self.logs("GetLogEvents", self.reader, wanted).expect(200).json()["events"])

    def logs(self, action: str, credentials: Credentials, body: dict[str, Any]) -> Answer:
        headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": f"Logs_20140328.{action}"}
        return self.call("logs", credentials, json.dumps(body).encode(), headers)

    def boto3(self, script: str, credentials: Credentials) -> Any:
        """What a script with the published client says: `client(service)` gives a client of this server, `result` is returned."""
        prologue = f"""
import boto3, botocore.config, json
def client(service):
    once = botocore.config.Config(retries={{"total_max_attempts": 1}})
    return boto3.client(service, endpoint_url={self.url!r}, region_name={credentials.region!r}, config=once,
                        aws_access_key_id={credentials.access_key!r}, aws_secret_access_key={credentials.secret_key!r})
"""
        done = subprocess.run(
            [self.install(), "-c", f"{prologue}\n{script}\nprint(json.dumps(result, default=str))"],
            capture_output=True,
            text=True,
            env={**os.environ, "AWS_EC2_METADATA_DISABLED": "true"},
            timeout=60,
        )
        if done.returncode != 0:
            raise AssertionError(f"the published client failed: {done.stderr[-2000:]}")
        return json.loads(done.stdout)

    def _create_user(self, name: str, actions: list[str]) -> Credentials:
        policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}]}
        anyone = Credentials("any", "any")
        for parameters in (
            {"Action": "CreateUser"},
            {"Action": "PutUserPolicy", "PolicyName": "only", "PolicyDocument": json.dumps(policy)},
        ):
            self._query("iam", anyone, {**parameters, "UserName": name, "Version": "2010-05-08"}).expect(200)
        made = (
            self._query("iam", anyone, {"Action": "CreateAccessKey", "UserName": name, "Version": "2010-05-08"}).expect(200).body.decode()
        )
        return Credentials(_element(made, "AccessKeyId"), _element(made, "SecretAccessKey"))

    def _query(self, service: str, credentials: Credentials, parameters: dict[str, str]) -> Answer:
        headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
        return self.call(service, credentials, urllib.parse.urlencode(parameters).encode(), headers)

    def _launch(self) -> None:
        # The first actions, which create the users, are not checked; all later ones are.
        self._spawn(
            [self.install(), "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)],
            environment={"INITIAL_NO_AUTH_ACTION_COUNT": "9"},
        )

    def _ready(self) -> bool:
        return self.rest.get("/moto-api/").status == 200


def _element(xml: str, name: str) -> str:
    found = re.search(f"<{name}>(.*?)</{name}>", xml)
    if found is None:
        raise AssertionError(f"no element {name} in: {xml[:500]}")
    return found[1]
