"""Takes invocations from Lambda's Runtime API, one after the other: what the managed runtime does, and no more."""

import http.client
import json
import os


def run(handler):
    api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])

    def request(method, path, body=None):
        api.request(method, f"/2018-06-01/runtime{path}", body)
        answer = api.getresponse()
        return answer.headers, answer.read()

    while True:
        headers, body = request("GET", "/invocation/next")
        request_id = headers["Lambda-Runtime-Aws-Request-Id"]
        deadline = int(headers["Lambda-Runtime-Deadline-Ms"]) / 1000
        try:
            answer = handler(json.loads(body), request_id, deadline)
            request("POST", f"/invocation/{request_id}/response", json.dumps(answer).encode())
        except Exception as error:  # whatever it is, it is the invocation's
            words = {"errorType": type(error).__name__, "errorMessage": str(error), "stackTrace": []}
            request("POST", f"/invocation/{request_id}/error", json.dumps(words).encode())
