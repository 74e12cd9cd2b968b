"""On a test host: what is below /srv/planted, on 127.0.0.1:8420, for whoever knows the password or the token."""

import base64
import http.server
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

*PASSWORDS, TOKEN = Path("/root/planted_words").read_text(encoding="utf-8").split()
ALLOWED = [f"Basic {base64.b64encode(one.encode()).decode()}" for one in PASSWORDS]


class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        token = parse_qs(urlsplit(self.path).query).get("token")
        if self.headers.get("Authorization") in ALLOWED or token == [TOKEN]:
            super().do_GET()
            return
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="planted"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def __init__(self, *arguments):
        super().__init__(*arguments, directory="/srv/planted")

    def log_message(self, *arguments):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", 8420), Handler).serve_forever()
