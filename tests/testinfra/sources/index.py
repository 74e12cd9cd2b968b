"""A package index in DIRECTORY/files for the one user of DIRECTORY/user, with TLS: `index.py DIRECTORY PORT`."""

import base64
import functools
import http.server
import ssl
import sys
from pathlib import Path

directory, port = sys.argv[1:]
allowed = f"Basic {base64.b64encode(Path(directory, 'user').read_bytes()).decode()}"


class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        if self.headers.get("Authorization") == allowed:
            super().do_GET()
        else:
            self.send_response(401)
            self.send_header("WWW-Authenticate", "Basic")
            self.end_headers()


server = http.server.ThreadingHTTPServer(
    ("127.0.0.1", int(port)), functools.partial(Handler, directory=f"{directory}/files")
)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(f"{directory}/server.pem", f"{directory}/server.key")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
