"""Every answer against the model that botocore has of the service.

An SDK drops a member that its model does not know without a word, so a misspelt one looks like one that is not there.
The witness therefore reads the answers as they came: no member that the model does not know, none of the required ones
missing, every value of its type and within its bounds. It also remembers which members were given and which came.
"""

import base64
import binascii
import json
import re
import threading
from collections import defaultdict

from botocore.eventstream import EventStream

# Errors that any operation may answer with, and that no model lists
# (https://docs.aws.amazon.com/kinesis/latest/APIReference/CommonErrors.html, and what the JSON protocol itself refuses).
COMMON_ERRORS = {"InternalFailure", "ValidationException", "SerializationException", "UnknownOperationException"}

# What the service itself answers against its model: no metrics, and no failed record.
LOOSE = (".ShardLevelMetrics", ".CurrentShardLevelMetrics", ".DesiredShardLevelMetrics", ".FailedRecordCount")

# Members of an error's body: its type, and its words in the case that the services of this protocol use.
ERROR_MEMBERS = {"__type", "message"}


class Witness:
    """Looks on at clients of one service. What it finds wrong is in `complaints`, for `expect_none` to raise."""

    def __init__(self):
        self.complaints = []
        self.answers = 0
        self.given = defaultdict(set)  # members of the requests that were carried out, by operation: A, A.B, A[].B
        self.came = defaultdict(set)   # members of their answers
        self.errors = defaultdict(set)
        self.request = threading.local()  # one at a time is under way in a thread

    def watch(self, client):
        """The client, watched from now on."""
        self.model = client.meta.service_model
        service = client.meta.service_model.service_id.hyphenize()
        client.meta.events.register(f"before-call.{service}", self.before)
        client.meta.events.register(f"before-parse.{service}", self.after)
        return client

    def before(self, model, params, **_):
        body = params["body"]
        self.request.members = json.loads(body) if body and model.input_shape and body[:1] in b"{" else {}

    def after(self, operation_model, response_dict, **_):
        self.answers += 1
        name, body, output = operation_model.name, response_dict["body"], operation_model.output_shape
        if response_dict["status_code"] >= 300:
            return self.refusal(operation_model, body)
        self.given[name] |= set(paths(operation_model.input_shape, self.request.members))
        if operation_model.has_event_stream_output:
            return None  # see `watched`
        if output is None or not in_body(output):
            return body and self.complain(name, f"an answer without members has the body {body[:200]}")
        return self.look(name, output, self.parsed(name, body), name)

    def refusal(self, operation, body: bytes):
        error = self.parsed(operation.name, body)
        if not isinstance(error, dict) or set(error) != ERROR_MEMBERS:
            return self.complain(operation.name, f"expected an error of {sorted(ERROR_MEMBERS)}, found {body[:200]}")
        kind = error["__type"]
        self.errors[operation.name].add(kind)
        if kind not in {shape.name for shape in operation.error_shapes} | COMMON_ERRORS:
            self.complain(operation.name, f"the model has no {kind} for it: {error['message']}")
        if not error["message"]:
            self.complain(operation.name, f"{kind} says nothing")
        return None

    def parsed(self, name: str, body: bytes):
        try:
            return json.loads(body)
        except ValueError:
            return self.complain(name, f"expected JSON, found {body[:200]}")

    def watched(self, operation: str, events: EventStream):
        """The events of a subscription, each looked at before it is parsed."""
        model = self.model.operation_model(operation)
        shape = model.get_event_stream_output()
        [member] = [name for name, of in model.output_shape.members.items() if of.name == shape.name]
        for event in events._event_generator:  # as they came; botocore gives them out parsed alone
            headers = event.headers
            if headers.get(":message-type") == "event":
                kind = headers.get(":event-type")
                if kind not in shape.members:
                    self.complain(operation, f"the model has no event {kind}")
                else:
                    body = self.parsed(f"{operation}.{kind}", event.payload)
                    self.look(operation, model.output_shape, {member: {kind: body}}, operation)
            elif headers.get(":exception-type") not in shape.members:
                self.complain(operation, f"the model has no such end of a stream: {headers}")
            self.answers += 1
            if parsed := events._parse_event(event):
                yield parsed

    def look(self, operation: str, shape, value, where: str):
        self.came[operation] |= set(paths(shape, value))
        self.complaints += [f"{operation}: {words}" for words in differences(shape, value, where)]

    def complain(self, operation: str, words: str):
        self.complaints.append(f"{operation}: {words}")

    def expect_none(self):
        """Raises what was found wrong, each thing once, and forgets it."""
        found, self.complaints = list(dict.fromkeys(self.complaints)), []
        if found:
            raise AssertionError("answers that are not as the model has them:\n" + "\n".join(found[:20]))


def differences(shape, value, where: str):
    """In words, where a JSON value is not what the shape says."""
    kind = shape.type_name
    if kind == "structure":
        yield from differences_of_structure(shape, value, where)
    elif kind == "list":
        if not isinstance(value, list):
            yield f"{where}: expected a list, found {value!r}"
            return
        yield from out_of_bounds(shape, len(value), where)
        for i, item in enumerate(value):
            yield from differences(shape.member, item, f"{where}[{i}]")
    elif kind == "map":
        if not isinstance(value, dict):
            yield f"{where}: expected a map, found {value!r}"
            return
        for key, item in value.items():
            yield from differences(shape.key, key, f"{where} key")
            yield from differences(shape.value, item, f"{where}[{key!r}]")
    elif not isinstance(value, TYPES[kind]) or isinstance(value, bool) != (kind == "boolean"):
        yield f"{where}: expected {kind}, found {value!r}"
    elif kind == "blob":
        try:
            yield from out_of_bounds(shape, len(base64.b64decode(value, validate=True)), where)
        except binascii.Error as error:
            yield f"{where}: expected base64, found {value[:80]!r}: {error}"
    elif kind == "string":
        yield from differences_of_text(shape, value, where)
    elif kind in ("integer", "long"):
        yield from out_of_bounds(shape, value, where)


TYPES = {"string": str, "blob": str, "boolean": bool, "integer": int, "long": int,
         "double": (int, float), "float": (int, float), "timestamp": (int, float)}


def differences_of_structure(shape, value, where: str):
    if not isinstance(value, dict):
        yield f"{where}: expected a structure, found {value!r}"
        return
    members = in_body(shape)
    for name in value:
        if name not in members:
            yield f"{where}: the model knows no member {name}; it has {', '.join(members)}"
    ended = shape.name == "SubscribeToShardEvent" and value.get("ChildShards")
    for name in shape.required_members:
        if ended and name == "ContinuationSequenceNumber":
            continue  # there is nothing to go on with; the Kinesis Client Library tells a shard's end by it
        if shape.members[name].serialization.get("name", name) not in value and name in members:
            yield f"{where}: the required member {name} is missing"
    for name, member in members.items():
        if name in value:
            yield from differences(member, value[name], f"{where}.{name}")


def differences_of_text(shape, value: str, where: str):
    if shape.enum and value not in shape.enum:
        yield f"{where}: expected one of {', '.join(shape.enum)}, found {value!r}"
    pattern = shape.metadata.get("pattern")
    if pattern and not re.fullmatch(pattern, value):
        yield f"{where}: expected {pattern}, found {value!r}"
    yield from out_of_bounds(shape, len(value), where)


def out_of_bounds(shape, size: int, where: str):
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if where.endswith(LOOSE):
        least = 0
    if (least is not None and size < least) or (most is not None and size > most):
        yield f"{where}: expected {least} to {most}, found {size}"


def in_body(shape) -> dict:
    """The members of a structure that travel in the body, by their names there."""
    return {member.serialization.get("name", name): member for name, member in shape.members.items()
            if "location" not in member.serialization}


def paths(shape, value, before: str = ""):
    """The members that a value has: A, A.B, A[].B."""
    if shape is None:
        return
    if shape.type_name == "structure" and isinstance(value, dict):
        for name, member in in_body(shape).items():
            if name in value:
                yield before + name
                yield from paths(member, value[name], f"{before}{name}.")
    elif shape.type_name == "list" and isinstance(value, list):
        for item in value:
            yield from paths(shape.member, item, f"{before.removesuffix('.')}[].")


def every_path(shape, before: str = ""):
    """The members that a value could have."""
    if shape is not None and shape.type_name == "structure":
        for name, member in in_body(shape).items():
            if member.metadata.get("exception"):
                continue  # one of the ends that a stream of events may have
            yield before + name
            yield from every_path(member, f"{before}{name}.")
    elif shape is not None and shape.type_name == "list":
        yield from every_path(shape.member, f"{before.removesuffix('.')}[].")
