"""Serves Canaille on a free port, which is printed once it listens, with users and clients in memory. Clients may register
themselves.

Arguments: a file in JSON with
- `users`: a list of `name` and `password`, and `locked` for one who may not log in;
- `resource`: `id` and `secret` of a client that stands for the resource, such as an MCP server, and may introspect;
- `client`: `id` and `secret` of one whose tokens are for that resource, and its `redirect_uri`;
- `port`, if what is known as that port of 127.0.0.1 passes on to the same port of 127.0.0.2, where this then listens.
"""

import asyncio
import datetime
import json
import socket
import sys

import canaille
from asgiref.wsgi import WsgiToAsgi
from canaille.app import models
from canaille.backends import Backend
from canaille.backends.memory.backend import MemoryBackend
from hypercorn.asyncio import serve
from hypercorn.config import Config


def matching_all(find):
    """A query of several attributes finds what matches all of them, as `Backend.query` says. That of the memory backend finds
    what matches any: one user's login would take another's code and consent."""

    def query(self, model, *args, **kwargs):
        def ids(attribute, values):
            values = model.serialize(values if isinstance(values, list) else [values])
            index = self.attribute_index(model, attribute)
            return {id for value in values for id in index.get(value, ())}

        found = find(self, model, *args, **kwargs)
        wanted = [ids(attribute, values) for attribute, values in kwargs.items()]
        return [one for one in found if all(one.id in ids for ids in wanted)]

    return query


def make_users(users):
    for user in users:
        name = user["name"]
        made = models.User(
            user_name=name,
            formatted_name=f"Formatted {name}",
            family_name=name,
            emails=[f"{name}@provider.example"],
            password=user["password"],
        )
        if user.get("locked"):
            made.lock_date = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=1)
        Backend.instance.save(made)


def make_clients(resource, client):
    server = models.Client(
        client_id=resource["id"],
        client_secret=resource["secret"],
        client_name="the resource",
        client_id_issued_at=datetime.datetime.now(datetime.timezone.utc),
        token_endpoint_auth_method="client_secret_basic",
        grant_types=["client_credentials"],
    )
    Backend.instance.save(server)
    caller = models.Client(
        client_id=client["id"],
        client_secret=client["secret"],
        client_name="a load test",
        client_id_issued_at=datetime.datetime.now(datetime.timezone.utc),
        token_endpoint_auth_method="client_secret_basic",
        grant_types=["authorization_code", "refresh_token"],
        response_types=["code"],
        redirect_uris=[client["redirect_uri"]],
    )
    Backend.instance.save(caller)
    caller.audience = [caller, server]
    Backend.instance.save(caller)


MemoryBackend.do_query = matching_all(MemoryBackend.do_query)
with open(sys.argv[1]) as file:
    wanted = json.load(file)
port = wanted.get("port")
listener = socket.create_server(("127.0.0.2", port) if port else ("127.0.0.1", 0), backlog=512)
origin = f"127.0.0.1:{listener.getsockname()[1]}"
app = canaille.create_app(
    {
        "SECRET_KEY": "of-no-use-elsewhere-0123456789-0123456789",
        "SERVER_NAME": origin,
        "PREFERRED_URL_SCHEME": "http",
        "CANAILLE": {
            "DATABASE": "memory",
            "ENABLE_INTRUDER_LOCKOUT": False,
            "CAPTCHA_ENABLED": False,
            # With it a field is sent for validation half a second after it was filled in, and whoever sent the form meanwhile is
            # forgotten by the answer's cookie: on a slow machine that fails logins at random.
            "HTMX": False,
        },
        "CANAILLE_OIDC": {"DYNAMIC_CLIENT_REGISTRATION_OPEN": True, "TRUSTED_DOMAINS": []},
        "OAUTH2_TOKEN_EXPIRES_IN": {"authorization_code": wanted.get("lifetime", 60)},
    }
)
with app.app_context():
    make_users(wanted["users"])
    make_clients(wanted["resource"], wanted["client"])
config = Config()
config.bind = [f"fd://{listener.fileno()}"]
config.accesslog = None
print(f"listening on http://{origin}", flush=True)
asyncio.run(serve(WsgiToAsgi(app), config))
