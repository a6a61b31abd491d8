"""Serves the notes site with waitress, on a free port that is printed once it listens."""

import os

import django
import waitress
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application

os.environ["DJANGO_SETTINGS_MODULE"] = "notes.settings"
django.setup()
call_command("migrate", run_syncdb=True, verbosity=0)
server = waitress.create_server(get_wsgi_application(), host="127.0.0.1", port=0, threads=8)
print(f"listening on http://127.0.0.1:{server.effective_port}", flush=True)
server.run()
