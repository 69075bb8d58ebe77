"""The producer as a competent programmer would write it in a day: batches, every entry's result read, failed ones again."""

import base64
import json
import os
import random
import sys
import time
import uuid
from datetime import datetime, timezone

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from runtime import run

STREAM = {"StreamARN": os.environ["STREAM_ARN"]} if "STREAM_ARN" in os.environ else {"StreamName": os.environ["STREAM_NAME"]}
kinesis = boto3.client("kinesis", config=Config(retries={"total_max_attempts": 1}))


def record(packet):
    payload = base64.b64decode(packet.get("Data") or "")
    key = payload[:4].hex().upper() if len(payload) >= 4 else str(uuid.uuid4())
    return {"PartitionKey": key, "Data": json.dumps(packet, separators=(",", ":")).encode()}


def put(records, deadline):
    """Sends these, and what failed again until the time is over; gives back what was never taken."""
    attempt = 0
    while records and time.time() < deadline - 2:
        if attempt:
            time.sleep(random.random() * min(1, 0.025 * 2**attempt))
        attempt += 1
        try:
            results = kinesis.put_records(Records=records, **STREAM)["Records"]
            records = [entry for entry, result in zip(records, results) if "ErrorCode" in result]
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] < 500 and "Throughput" not in str(error):
                break
        except BotoCoreError:
            pass
    return records


def handle(event, request_id, deadline):
    records = [record(packet) for packet in event.get("Messages") or []]
    undelivered = []
    for start in range(0, len(records), 500):
        undelivered += put(records[start : start + 500], deadline)
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    lines = [
        json.dumps({"timestamp": now, "level": "ERROR", "message": "undelivered", "packet": left["Data"].decode()})
        for left in undelivered
    ]
    counts = {"packets": len(records), "acknowledged": len(records) - len(undelivered)}
    lines.append(json.dumps({"timestamp": now, "level": "INFO", "message": "summary", "requestId": request_id, **counts}))
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
    return {"Replies": []}


run(handle)
