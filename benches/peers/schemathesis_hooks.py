"""What Schemathesis needs to know of Integr8sCode: its users log in with a form, and repeat a cookie in a header."""

import os
import uuid

import requests
import schemathesis

BASE = os.environ["TARGET"] + "/api/v1"
NAME = f"st{uuid.uuid4().hex[:12]}"
PASSWORD = "testpass123!"


def send(path, **body):
    answer = requests.post(BASE + path, verify=False, timeout=10, **body)
    answer.raise_for_status()
    return answer


send("/auth/register", json={"username": NAME, "email": f"{NAME}@example.com", "password": PASSWORD})


# One of the operations under test ends the session: it is made anew every few seconds.
@schemathesis.auth(refresh_interval=3)
class Session:
    def get(self, case, context):
        return dict(send("/auth/login", data={"username": NAME, "password": PASSWORD}).cookies)

    def set(self, case, data, context):
        case.cookies = {**(case.cookies or {}), **data}
        case.headers["X-CSRF-Token"] = data["csrf_token"]
