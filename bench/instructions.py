"""What nginx executes for a request of hello, outside of the kernel: by callgrind, within a percent on a busy machine, too.

Beside the bundle's configuration and the servers by hand, the bundle's is counted once more without each of its features.
"""

from __future__ import annotations

from .hosts import inside, write
from .served import PORTS

#: $1 is a configuration and $2 its pid file: it runs in one process under callgrind, and is asked $4 times at port $3 on a
#: kept connection, once it is warm.
COUNT = """
set -e
rm -f /srv/bench/callgrind.*
valgrind --tool=callgrind --callgrind-out-file=/srv/bench/callgrind.out \\
    nginx -c "$1" -g 'daemon off; master_process off;' >/dev/null 2>&1 &
python3 /srv/bench/ask.py "$3" 100
callgrind_control --zero "$(cat "$2")" >/dev/null
python3 /srv/bench/ask.py "$3" "$4"
kill -QUIT "$(cat "$2")"
wait
callgrind_annotate /srv/bench/callgrind.out | awk '/PROGRAM TOTALS/ {gsub(",", "", $1); print $1}'
"""

ASK = """
import http.client, sys, time
port, count = int(sys.argv[1]), int(sys.argv[2])
for _ in range(300):
    try:
        client = http.client.HTTPConnection("127.0.0.1", port)
        client.connect()
        break
    except OSError:
        time.sleep(0.1)
for _ in range(count):
    client.request("GET", "/", headers={"Host": "hello.localhost"})
    answer = client.getresponse()
    assert answer.status == 200 and answer.read() == b"Hello, world!\\n", answer.status
"""

#: The bundle's configuration once more, for itself and at a port of its own.
COPY = """
rm -rf /srv/bench/front && cp -rL /etc/nginx /srv/bench/front && cd /srv/bench/front
sed -i 's#/run/nginx.pid#/run/bench/front.pid#; s#modules-enabled/[*].conf#modules-enabled/none*.conf#' nginx.conf
sed -i 's#listen 80#listen 127.0.0.1:8088#; /listen .::.:80/d' emperor-stack/*.conf
"""

DIGEST = "cat emperor-stack/*.conf emperor-stack/sites/*.conf | sha256sum"

#: How the copy loses a feature.
WITHOUT = {
    "log": "sed -i 's#access_log .*#access_log off;#' emperor-stack/log.conf emperor-stack/sites/*.conf",
    "request_id": "sed -i 's#[$]request_id#-#' emperor-stack/headers.conf emperor-stack/log.conf emperor-stack/uwsgi.conf",
    "headers": ": >emperor-stack/headers.conf",
    "parameters": "sed -i '/^uwsgi_param/d; 1i include uwsgi_params;' emperor-stack/uwsgi.conf",
    "maintenance": "sed -i '/if (-f /,+2d; /_maintenance) {/,+2d' emperor-stack/sites/*.conf",
}


def count(name: str, requests: int = 1000) -> dict[str, int]:
    """Instructions for one request, by what was asked; `without_…` for the bundle without a feature."""
    inside(name, "apt-get install -q -y --no-install-recommends valgrind >/dev/null")
    write(name, "/srv/bench/ask.py", ASK)
    write(name, "/srv/bench/count.sh", COUNT)
    inside(name, "systemctl stop bench-best-nginx")

    def counted(words: str) -> int:
        said = inside(name, f"bash /srv/bench/count.sh {words} {requests}")
        return int(said) // requests

    best = "/srv/bench/best.nginx.conf /run/bench/best.nginx.pid"
    found = {variant: counted(f"{best} {PORTS[variant]}") for variant in ("best", "equal")}
    copy = "/srv/bench/front/nginx.conf /run/bench/front.pid 8088"
    inside(name, COPY)
    found["stack"] = counted(copy)
    for feature, change in WITHOUT.items():
        # What is not found any more would be counted as if it cost nothing.
        inside(name, f'{COPY}whole=$({DIGEST})\n{change}\n[ "$whole" != "$({DIGEST})" ]')
        found[f"without_{feature}"] = counted(copy)
    return found
