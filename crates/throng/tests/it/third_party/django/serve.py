"""Serves the notes site on a free port or at NOTES_LISTEN, and prints where once it listens: with waitress, or with a certificate over https by
the standard library's server."""

import os
import ssl
import sys
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import django
import waitress
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application


HOST, PORT = os.environ.get("NOTES_LISTEN", "127.0.0.1:0").rsplit(":", 1)
PLACE = (HOST, int(PORT))


class ThreadingServer(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass


def over_https(application, certificate):
    server = make_server(*PLACE, application, ThreadingServer, Quiet)
    server.base_environ["HTTPS"] = "on"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    return server.server_port, server.serve_forever


def over_http(application):
    # Each user keeps a connection open, and waitress by itself lets in 100.
    server = waitress.create_server(application, host=PLACE[0], port=PLACE[1], threads=8, connection_limit=5000)
    return server.effective_port, server.run


os.environ["DJANGO_SETTINGS_MODULE"] = "notes.settings"
django.setup()
call_command("migrate", run_syncdb=True, verbosity=0)
application = get_wsgi_application()
if len(sys.argv) > 1:
    port, run = over_https(application, sys.argv[1])
    print(f"listening on https://{HOST}:{port}", flush=True)
else:
    port, run = over_http(application)
    print(f"listening on http://{HOST}:{port}", flush=True)
run()
