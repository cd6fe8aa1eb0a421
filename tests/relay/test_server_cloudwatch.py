"""The CloudWatch server does what the relay's tests rely on: no relay is involved here."""

from __future__ import annotations

import time
from typing import Any

from servers.cloudwatch import CloudWatch
from servers.sigv4 import Credentials


PUT = b"Action=PutMetricData&Version=2010-08-01&Namespace={}&MetricData.member.1.MetricName=score&MetricData.member.1.Value=73.5"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def put(cloudwatch: CloudWatch, credentials: Credentials, namespace: str) -> tuple[int, str]:
    answer = cloudwatch.call("monitoring", credentials, PUT.replace(b"{}", namespace.encode()), FORM)
    return answer.status, answer.body.decode()


def test_cloudwatch_stores_what_is_signed_well_and_refuses_the_rest(cloudwatch: CloudWatch, unique: str) -> None:
    writer = cloudwatch.writer
    assert put(cloudwatch, writer, unique)[0] == 200
    assert cloudwatch.metric(unique, "score") == [73.5]

    status, said = put(cloudwatch, Credentials(writer.access_key, "wrong" + writer.secret_key), unique)
    assert status == 403 and "SignatureDoesNotMatch" in said
    status, said = put(cloudwatch, Credentials("AKIAUNKNOWN000000000", writer.secret_key), unique)
    assert status == 403 and "InvalidClientTokenId" in said
    status, said = put(cloudwatch, cloudwatch.reader, unique)
    assert status == 403 and "AccessDenied" in said
    assert cloudwatch.metric(unique, "score") == [73.5]


def test_cloudwatch_logs_keep_events_of_who_may_write_them(cloudwatch: CloudWatch, unique: str) -> None:
    def call(action: str, credentials: Credentials = cloudwatch.writer, **body: Any) -> int:
        return cloudwatch.logs(action, credentials, {"logGroupName": unique, **body}).status

    now_ms = time.time_ns() // 1_000_000
    events = [{"timestamp": now_ms - 10, "message": "opened"}, {"timestamp": now_ms, "message": "resolved"}]
    assert call("PutLogEvents", logStreamName="host", logEvents=events) == 400  # no such group yet
    assert call("CreateLogGroup", cloudwatch.reader) in (400, 403)
    assert [
        call("CreateLogGroup"),
        call("CreateLogStream", logStreamName="host"),
        call("PutLogEvents", logStreamName="host", logEvents=events),
    ] == [200] * 3
    assert [event["message"] for event in cloudwatch.log_events(unique, "host")] == ["opened", "resolved"]


def test_cloudwatch_serves_the_published_client_and_so_our_signatures_are_made_as_it_makes_them(
    cloudwatch: CloudWatch, unique: str
) -> None:
    code = cloudwatch.boto3(
        f"""
answer = client("cloudwatch").put_metric_data(Namespace={unique!r}, MetricData=[dict(MetricName="score", Value=12.5)])
result = answer["ResponseMetadata"]["HTTPStatusCode"]
""",
        cloudwatch.writer,
    )
    assert code == 200
    assert cloudwatch.metric(unique, "score") == [12.5]
