"""Redis of apps: each has its own user and its own keys, on its own host and on another."""

from __future__ import annotations

import json
import time
from urllib.parse import quote

from databases import Controller, environment, get
from deploying import figure
from testinfra.host import Host


def tried(host: Host, name: str, words: list[str], url: str = "") -> str:
    """What becomes of a command of Redis that a web process of app *name* gives."""
    more = f"&url={quote(url, safe='')}" if url else ""
    return get(host, name, f"/try?words={quote(json.dumps(words))}{more}")


def test_a_worker_gets_its_work_by_the_queue(controller: Controller, server: Host, client: Host) -> None:
    for host, name in ((server, "queue"), (client, "mail-queue")):
        assert get(host, name, "/shout?text=hello") == "HELLO"


def test_what_is_foreign_is_refused(controller: Controller, server: Host, client: Host) -> None:
    assert tried(server, "queue", ["SET", "queue:secret", "42"]) == "answered True"
    own, far = environment(server, "queue")["REDIS_URL"], environment(client, "mail-queue")["REDIS_URL"]
    address = controller.addresses[server.backend.host]
    nobody = f"redis://{own.partition('@')[2]}"
    said = {
        "another app's key": tried(client, "mail-queue", ["GET", "queue:secret"]),
        "writing another app's key": tried(client, "mail-queue", ["SET", "queue:secret", "0"]),
        "a key without prefix": tried(server, "queue", ["SET", "secret", "0"]),
        "another app's channel": tried(client, "mail-queue", ["PUBLISH", "queue:news", "x"]),
        "a script at another app's key": tried(
            client, "mail-queue", ["EVAL", "return redis.call('get', 'queue:secret')", "0"]
        ),
        "names of all keys": tried(client, "mail-queue", ["KEYS", "*"]),
        "a scan of all keys": tried(client, "mail-queue", ["SCAN", "0"]),
        "deleting everything": tried(client, "mail-queue", ["FLUSHALL"]),
        "settings": tried(server, "queue", ["CONFIG", "GET", "*"]),
        "users": tried(server, "queue", ["ACL", "LIST"]),
        "watching others": tried(server, "queue", ["MONITOR"]),
        "without a user": tried(server, "queue", ["GET", "queue:secret"], nobody),
        "a wrong password": tried(server, "queue", ["PING"], own.replace("@", "x@")),
        "another host without TLS": tried(client, "mail-queue", ["PING"], f"redis://{address}:6379/0"),
        "TLS without the authority": tried(client, "mail-queue", ["PING"], far.partition("?")[0]),
    }
    let_in = {name: text for name, text in said.items() if not text.startswith("refused: ")}
    figure("redis_foreign_keys_refused", f"{len(said) - len(let_in)}/{len(said)}")
    assert let_in == {}
    # What the refusals differ from.
    assert tried(server, "queue", ["GET", "queue:secret"]) == "answered '42'"
    assert tried(client, "mail-queue", ["PING"], far) == "answered True"


def test_keys_survive_a_crash(controller: Controller, server: Host) -> None:
    assert tried(server, "queue", ["SET", "queue:kept", "1"]) == "answered True"
    # The log is written each second.
    time.sleep(2)
    server.check_output("kill -9 $(systemctl show --property=MainPID --value valkey-server)")
    for _ in range(100):
        if (said := tried(server, "queue", ["GET", "queue:kept"])) == "answered '1'":
            break
        time.sleep(0.1)
    assert said == "answered '1'"
    # Transactions are read from the log with the rights of user default, which nobody can log in as.
    get(server, "queue", "/shout?text=again")
    journal = server.check_output("journalctl --unit=valkey-server --no-pager --output=cat")
    assert "Ready to accept connections" in journal and "AOF-loading-client" not in journal


def test_memory_is_bounded(controller: Controller, server: Host) -> None:
    settings = server.check_output("cat /etc/emperor-stack/redis/server.conf").splitlines()
    (most,) = (int(line.split()[1].removesuffix("mb")) for line in settings if line.startswith("maxmemory "))
    total = int(server.check_output("awk '/^MemTotal/ {print $2}' /proc/meminfo")) // 1024
    assert "maxmemory-policy noeviction" in settings and most <= total // 10
