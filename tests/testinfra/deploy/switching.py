"""Run on the host: switch an app between two activations, and count answers with a static file of the one that was left.

Arguments: the app, its domain, the port, a file's URL, and how many times to switch. Prints what was stale, and of how many.
The same rename as a deploy's switches; each request begins after it, on connections that were open before.
"""

import http.client
import os
import sys

app, domain, port, url, switches = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], int(sys.argv[5])
top = f"/srv/apps/{app}"
live = os.readlink(f"{top}/active")
others = [name for name in os.listdir(f"{top}/activations") if f"activations/{name}" != live]
of = {}
for activation in [live, *(f"activations/{name}" for name in sorted(others))]:
    public = os.path.realpath(f"{top}/{activation}/release/public")
    if os.path.isdir(public) and public not in of:
        of[public] = activation
(first, second) = list(of)[:2]
for public in (first, second):
    path = public + url
    status = os.stat(os.path.dirname(path))
    for ending in ("", ".gz"):
        with open(path + ending, "w") as file:
            file.write((public[-40:] + "\n") * 60)
        os.chown(path + ending, 0, status.st_gid)
        os.chmod(path + ending, 0o640)
connections = [http.client.HTTPConnection("127.0.0.1", port) for _ in range(16)]
stale = asked = 0
try:
    for number in range(switches):
        public = (second, first)[number % 2]
        os.symlink(of[public], f"{top}/active.test")
        os.rename(f"{top}/active.test", f"{top}/active")
        for compressed in (False, True, False, True):
            for connection in connections:
                headers = {"Host": domain, **({"Accept-Encoding": "gzip"} if compressed else {})}
                connection.request("GET", url, headers=headers)
                answer = connection.getresponse()
                body = answer.read()
                assert answer.status == 200, answer.status
                assert (answer.headers["Content-Encoding"] == "gzip") == compressed, answer.headers
                asked += 1
                stale += public[-40:].encode() not in body
finally:
    os.symlink(live, f"{top}/active.test")
    os.rename(f"{top}/active.test", f"{top}/active")
print(stale, asked)
