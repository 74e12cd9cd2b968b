"""A server that answers each line with the same line, a moment later; runs on the test host."""

import socketserver
import time


class Queries(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            time.sleep(0.005)
            self.wfile.write(line)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


Server(("127.0.0.1", 7777), Queries).serve_forever()
