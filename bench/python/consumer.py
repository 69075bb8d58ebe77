"""The consumer likewise: each record decoded, a line for each packet, one write for a batch."""

import base64
import json
import sys
import time
from datetime import datetime, timezone

from runtime import run


def iso(seconds):
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds")


def line(record, now):
    kinesis = record["kinesis"]
    arrival = kinesis["approximateArrivalTimestamp"]
    head = {
        "timestamp": iso(now),
        "level": "INFO",
        "message": "packet",
        "shard": record["eventID"].split(":")[0],
        "sequenceNumber": kinesis["sequenceNumber"],
        "partitionKey": kinesis["partitionKey"],
        "arrival": iso(arrival),
        "age": round((now - arrival) * 1000),
    }
    try:
        packet = json.loads(base64.b64decode(kinesis["data"]))
        payload = base64.b64decode(packet["Data"])
        remote = packet.get("Remote")
        if remote:
            remote = f"{remote['IpAddress']}:{remote['Port']}"
        text = payload.decode("latin-1")
        if text.isprintable() and text.isascii():
            content = {"text": text}
        else:
            shown = "".join(c if " " <= c <= "~" else "." for c in text[:64])
            content = {"base64": packet["Data"], "ascii": shown}
        return json.dumps({**head, "size": len(payload), "remote": remote, "tag": packet.get("Tag"), **content})
    except (ValueError, KeyError, TypeError):
        return json.dumps({**head, "message": "record", "base64": kinesis["data"]})


def handle(event, request_id, _deadline):
    now = time.time()
    lines = [line(record, now) for record in event["Records"]]
    summary = {"timestamp": iso(now), "level": "INFO", "message": "summary", "requestId": request_id}
    lines.append(json.dumps({**summary, "records": len(event["Records"])}))
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
    return {"batchItemFailures": []}


run(handle)
