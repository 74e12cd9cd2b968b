"""The attacks. Each says what may come back and what the apps may see; whatever else happens is a defect."""

from __future__ import annotations

import contextlib
import hashlib
import re
import subprocess
from collections.abc import Callable, Iterator

from attacks import http2
from attacks.arena import MARKS, Arena, Attack, Harm, Outcome, none

#: What a smuggler hides in the body of another request.
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: neighbour.localhost\r\nConnection: close\r\n\r\n"
END = b"0\r\n\r\n"
HIDDEN = END + SMUGGLED

#: The connection is closed with an error, or without a word.
REFUSED: tuple[tuple[int, ...], ...] = ((), (400,))
ONCE = ((200,),)
NOT_FOUND = ((404,),)
NOTHING: tuple[tuple[str, ...], ...] = ((),)


def lines(*parts: str, body: bytes = b"") -> bytes:
    """A head of these lines, and a body."""
    return "\r\n".join([*parts, "", ""]).encode("latin-1") + body


def get(target: str, *headers: str, host: str = "victim.localhost") -> bytes:
    return lines(f"GET {target} HTTP/1.1", f"Host: {host}", "Connection: close", *headers)


def post(*headers: str, body: bytes, target: str = "/read", version: str = "1.1") -> bytes:
    return lines(f"POST {target} HTTP/{version}", "Host: victim.localhost", *headers, body=body)


# Request smuggling


def smuggling() -> Iterator[Attack]:
    whole = f"Content-Length: {len(HIDDEN)}"
    for name, headers in {
        "CL.TE": (whole, "Transfer-Encoding: chunked"),
        "TE.CL": ("Transfer-Encoding: chunked", "Content-Length: 5"),
        "TE.TE, the second unknown": ("Transfer-Encoding: chunked", "Transfer-Encoding: x", whole),
        "TE.TE, the first unknown": ("Transfer-Encoding: x", "Transfer-Encoding: chunked", whole),
        "TE.TE, both chunked": ("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
        "TE: xchunked": ("Transfer-Encoding: xchunked", whole),
        "TE: chunked after a tab": ("Transfer-Encoding:\tchunked", whole),
        "TE: chunked after a vertical tab": ("Transfer-Encoding:\x0bchunked", whole),
        "TE: chunked, identity": ("Transfer-Encoding: chunked, identity", whole),
        "TE: identity, chunked": ("Transfer-Encoding: identity, chunked", whole),
        "TE in quotes": ('Transfer-Encoding: "chunked"', whole),
        "TE with a blank before the colon": ("Transfer-Encoding : chunked", whole),
        "TE in a folded line": ("Transfer-Encoding:", " chunked", whole),
        "TE as the fold of another header": ("X-Fold: x", " Transfer-Encoding: chunked", whole),
        "TE with a NUL": ("Transfer-Encoding: chun\0ked", whole),
        "TE with a bare CR before it": ("X-Bare: x\rTransfer-Encoding: chunked", whole),
        "CL twice, not the same": ("Content-Length: 0", whole),
        "CL twice, the same": (whole, whole),
        "CL with a list": (f"Content-Length: {len(HIDDEN)}, 0",),
        "CL with a plus": (f"Content-Length: +{len(HIDDEN)}",),
        "CL below zero": ("Content-Length: -1",),
        "CL in hexadecimal": (f"Content-Length: {len(HIDDEN):#x}",),
        "CL above 64 bits": ("Content-Length: 18446744073709551616",),
        "CL with a blank inside": ("Content-Length: 1 0",),
        "CL in a folded line": ("Content-Length:", f" {len(HIDDEN)}"),
        "CL with a NUL": ("Content-Length: 0\0", whole),
    }.items():
        yield Attack(f"smuggling: {name}", post(*headers, body=HIDDEN), (*REFUSED, (501,)))
    for name, headers in {
        # Not the header that it looks like: the length holds, and the body is a body.
        "TE with an underscore": ("Transfer_Encoding: chunked", whole),
        "TE with a bare LF before it, which ends a line": ("X-Bare: x\nX-Other: chunked", whole),
        "CL with zeros before it": (f"Content-Length: 000{len(HIDDEN)}",),
    }.items():
        yield Attack(
            f"smuggling: {name}",
            post(*headers, "Connection: close", body=HIDDEN),
            ONCE,
            (("victim POST /read",),),
            wrong_body(HIDDEN),
        )
    chunked = "Transfer-Encoding: chunked"
    for name, body in {
        "a chunk's size is no number": b"zz\r\n" + HIDDEN,
        "a chunk's size below zero": b"-1\r\n" + HIDDEN,
        "a chunk's size with 0x": b"0x5\r\nhello\r\n" + HIDDEN,
        "a chunk's size above 64 bits": b"10000000000000005\r\nhello\r\n" + HIDDEN,
        "a chunk longer than its size": b"2\r\nhello\r\n" + HIDDEN,
        "a chunk without its end": b"5\r\nhello" + HIDDEN,
    }.items():
        yield Attack(f"smuggling: {name}", post(chunked, body=body), REFUSED)
    for name, body in {
        "an extension of a chunk": b"5;a=b\r\nhello\r\n" + END,
        "an extension that looks like a request": b"5;\tGET /smuggled HTTP/1.1\r\nhello\r\n" + END,
        "a trailer that names a client": b"5\r\nhello\r\n0\r\nX-Forwarded-For: 203.0.113.66\r\n\r\n",
        "a trailer that names a host": b"5\r\nhello\r\n0\r\nHost: neighbour.localhost\r\n\r\n",
        "a trailer with another length": b"5\r\nhello\r\n0\r\nContent-Length: 70\r\n\r\n",
    }.items():
        yield Attack(
            f"smuggling: {name}",
            post(chunked, "Connection: close", body=body),
            (*ONCE, *REFUSED),
            (("victim POST /read",), ()),
            either(wrong_body(b"hello"), forged("203.0.113.66", "neighbour.localhost")),
        )
    yield Attack("smuggling: chunked in HTTP/1.0", post(chunked, body=HIDDEN, version="1.0"), REFUSED)
    unread = post(f"Content-Length: {len(SMUGGLED)}", body=SMUGGLED, target="/unread")
    yield Attack(
        "smuggling: a request in the body that the app does not read",
        unread + get("/second"),
        ((200, 200),),
        (("victim POST /unread", "victim GET /second"),),
    )
    yield Attack(
        "smuggling: a request in the chunked body that the app does not read",
        post(chunked, body=b"%x\r\n%s\r\n" % (len(SMUGGLED), SMUGGLED) + END, target="/unread")
        + get("/second"),
        ((200, 200),),
        (("victim POST /unread", "victim GET /second"),),
    )
    yield Attack(
        "smuggling: a request behind a body of no length",
        lines("POST /unread HTTP/1.1", "Host: victim.localhost", body=b"x" * 10 + SMUGGLED),
        ((200, 400), (200, 405), (200,)),
        (("victim POST /unread",),),
    )
    yield Attack(
        "smuggling: a request in a body that is too large",
        post(f"Content-Length: {2 << 20}", body=SMUGGLED),
        ((413,),),
    )
    yield Attack(
        "smuggling: a request in a body that is expected later",
        post("Expect: 100-continue", f"Content-Length: {len(SMUGGLED)}", body=SMUGGLED, target="/unread"),
        ((200,), (100, 200), (417,)),
        (("victim POST /unread",), ()),
    )
    yield Attack(
        "smuggling: a GET with a body",
        lines(
            "GET /read HTTP/1.1",
            "Host: victim.localhost",
            "Connection: close",
            f"Content-Length: {len(SMUGGLED)}",
            body=SMUGGLED,
        ),
        ONCE,
        (("victim GET /read",),),
        wrong_body(SMUGGLED),
    )
    yield Attack(
        "smuggling: an upgrade to h2c",
        get("/upgrade", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__").replace(
            b"Connection: close", b"Connection: Upgrade, HTTP2-Settings"
        )
        + http2.PREFACE,
        ((200, 400), (200,), (200, 405)),
        (("victim GET /upgrade",),),
    )
    yield Attack(
        "smuggling: an upgrade to websockets",
        get("/upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 777").replace(
            b"Connection: close", b"Connection: Upgrade"
        )
        + b"\x81\x05hello"
        + SMUGGLED,
        ((200, 400), (200,), (200, 405)),
        (("victim GET /upgrade",),),
    )
    yield Attack("smuggling: HTTP/2 without TLS", http2.PREFACE + http2.SETTINGS_FRAME, (*REFUSED, (505,)))
    yield Attack("smuggling: HTTP/0.9", b"GET /smuggled\r\n", REFUSED)
    host = "Host: victim.localhost"
    for name, sent in {
        "a blank before the first header": lines("GET /smuggled HTTP/1.1", f" {host}"),
        "a blank before a colon": lines("GET /smuggled HTTP/1.1", "Host : victim.localhost"),
        "a header without a name": lines("GET /smuggled HTTP/1.1", host, ": x"),
        "a NUL in a header's name": lines("GET /smuggled HTTP/1.1", host, "X-\0: x"),
        "a NUL in a header": lines("GET /smuggled HTTP/1.1", host, "X-A: a\0b"),
        "a blank in the URL": lines("GET /smuggled HTTP/1.1 x HTTP/1.1", host),
        "a tab in the request line": lines("GET\t/smuggled\tHTTP/1.1", host),
        "a bare CR in the request line": lines("GET /smuggled\rHTTP/1.1", host),
        "a NUL in the URL": lines("GET /smuggled\0 HTTP/1.1", host),
        "HTTP in small letters": lines("GET /smuggled http/1.1", host),
        "HTTP/1.1x": lines("GET /smuggled HTTP/1.1x", host),
        "a method in small letters": lines("get /smuggled HTTP/1.1", host),
        "a method with a NUL": lines("GET\0 /smuggled HTTP/1.1", host),
    }.items():
        yield Attack(f"smuggling: {name}", sent, REFUSED)
    yield Attack("smuggling: HTTP/3.1", lines("GET /smuggled HTTP/3.1", host), (*REFUSED, (505,)))


def wrong_body(body: bytes) -> Harm:
    wanted = (len(body), hashlib.sha256(body).hexdigest())

    def harm(outcome: Outcome) -> str:
        came = [(one["body.length"], one["body.sha256"]) for one in outcome.requests]
        return "" if all(one == wanted for one in came) else f"the app got other bodies: {came}"

    return harm


def forged(*texts: str, names: tuple[str, ...] = ()) -> Harm:
    """Whether a text reached the app in any variable but *names*."""

    def harm(outcome: Outcome) -> str:
        for one in outcome.requests:
            for name, value in one.items():
                if name not in names and any(text in str(value) or text in name for text in texts):
                    return f"the app saw {name}={value}"
        return ""

    return harm


def either(*harms: Harm) -> Harm:
    return lambda outcome: next((found for harm in harms if (found := harm(outcome))), "")


# HTTP/2, which is handed on in another form


def over_http2() -> Iterator[Attack]:
    def attack(
        name: str,
        *frames: bytes,
        answers: tuple[tuple[int, ...], ...] = REFUSED,
        seen: tuple[tuple[str, ...], ...] = NOTHING,
        harm: Harm = none,
    ) -> Attack:
        def sends(arena: Arena) -> bytes:
            return http2.exchange(arena, *frames)

        return Attack(f"HTTP/2: {name}", sends, answers, seen, harm)

    injected = "x\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: neighbour.localhost\r\n\r\n"
    for name, headers in {
        "CRLF in a header": http2.changed(("x-a", injected)),
        "LF in a header": http2.changed(("x-a", "a\nx-forwarded-for: 203.0.113.66")),
        "NUL in a header": http2.changed(("x-a", "a\0b")),
        "CRLF in a header's name": http2.changed(("x-a: a\r\nx-b", "b")),
        "a colon in a header's name": http2.changed(("x-a: a", "b")),
        "a capital in a header's name": http2.changed(("X-Forwarded-For", "203.0.113.66")),
        "CRLF in the path": http2.changed(path=f"/{injected}"),
        "a blank in the path": http2.changed(path="/smuggled HTTP/1.1"),
        "a path that is none": http2.changed(path="smuggled"),
        "CRLF in the method": http2.changed(method="GET /smuggled HTTP/1.1\r\nX: "),
        "a blank in the method": http2.changed(method="GET /smuggled"),
        "CRLF in the authority": http2.changed(authority=injected),
        "two paths": http2.changed((":path", "/smuggled")),
        "two authorities": http2.changed((":authority", "neighbour.localhost")),
        "two schemes": http2.changed((":scheme", "http")),
        "no path": tuple(header for header in http2.GOOD if header[0] != ":path"),
        "no method": tuple(header for header in http2.GOOD if header[0] != ":method"),
        "no scheme": tuple(header for header in http2.GOOD if header[0] != ":scheme"),
        "a pseudo header that nobody knows": http2.changed((":unknown", "x")),
        "a pseudo header after a header": (*http2.GOOD[:3], ("x-a", "x"), (":path", "/h2")),
        "Transfer-Encoding": http2.changed(("transfer-encoding", "chunked")),
        "authority and Host do not agree": http2.changed(("host", "victim.localhost")),
    }.items():
        yield attack(
            name,
            http2.request(headers),
            answers=(*REFUSED, *ONCE),
            seen=((), ("secured GET /h2",)),
            harm=either(forged("203.0.113.66", "neighbour.localhost", "victim.localhost"), only("secured")),
        )
    for name, said, body in (
        ("a body longer than it says", "3", SMUGGLED),
        ("a body shorter than it says", "500", SMUGGLED),
        ("a length below zero", "-1", SMUGGLED),
        ("a length that is no number", "3x", SMUGGLED),
    ):
        yield attack(name, http2.request(http2.changed(("content-length", said), method="POST"), body))
    yield attack(
        "a body without a length",
        http2.request(http2.changed(method="POST", path="/unread"), SMUGGLED),
        answers=ONCE,
        seen=(("secured POST /unread",),),
    )
    yield attack(
        "a scheme with a host in it",
        http2.request(http2.changed(scheme="http://neighbour.localhost/smuggled?x=")),
        answers=(*REFUSED, *ONCE),
        seen=((), ("secured GET /h2",)),
        harm=forged("neighbour.localhost"),
    )
    many = b"".join(
        http2.request(http2.changed(path="/reset"), stream=number)
        + http2.frame(http2.RST_STREAM, 0, number, b"\0\0\0\x08")
        for number in range(1, 4001, 2)
    )
    yield Attack(
        "HTTP/2: 2000 requests, each reset at once",
        # Some may be answered before they are reset.
        lambda arena: http2.exchange(arena, many)[:0],
        ((),),
        None,
        flooded("/reset", 2000),
    )
    block = b"".join(http2.literal(*header) for header in http2.GOOD)
    endless = http2.frame(http2.HEADERS, http2.END_STREAM, 1, block) + b"".join(
        http2.frame(http2.CONTINUATION, 0, 1, http2.literal(f"x-{number}", "x" * 1000))
        for number in range(500)
    )
    yield attack("a head that does not end", endless)
    bomb = block + http2.literal("x-bomb", "x" * 3900, 0x40) + b"\xbe" * 4000
    yield attack("a head that unfolds to 16 MB", http2.frame(http2.HEADERS, 5, 1, bomb))
    pings = http2.frame(http2.PING, 0, 0, b"12345678") * 20000
    yield attack("20000 pings", pings, answers=((),))
    yield attack("20000 settings", http2.SETTINGS_FRAME * 20000, answers=((),))


def only(app: str) -> Harm:
    def harm(outcome: Outcome) -> str:
        others = [one for one in outcome.seen if not one.startswith(f"{app} ")]
        return f"another app saw {others[0]}" if others else ""

    return harm


def flooded(path: str, most: int) -> Harm:
    """Whatever an app saw of a flood, it is only that."""

    def harm(outcome: Outcome) -> str:
        others = [one for one in outcome.seen if not one.endswith(f" GET {path}")]
        return f"an app saw {others[0]}" if others or len(outcome.seen) > most else ""

    return harm


# Paths


def paths() -> Iterator[Attack]:
    # The app is asked for what is no file, and answers any path: no harm. What may come is 400, 404, or the app.
    def attack(
        path: str, name: str = "", works_on_weak: bool = False, host: str = "victim.localhost"
    ) -> Attack:
        return Attack(
            f"path: {name or path}",
            get(path, host=host),
            (*REFUSED, (404,), (403,), (200,), (414,)),
            None,
            file_served,
            works_on_weak=works_on_weak,
        )

    yield attack("/static../app.py", works_on_weak=True)
    yield attack("/static../environment.json")
    for path in (
        "/static../code/app.py",
        "/static../../code/app.py",
        "/static/../app.py",
        "/static/../../code/app.py",
        "/static/..%2fapp.py",
        "/static/..%2f..%2fcode%2fapp.py",
        "/static/%2e%2e/app.py",
        "/static/%2e%2e%2f%2e%2e%2fcode%2fapp.py",
        "/static/.%2e/.%2e/code/app.py",
        "/static/%252e%252e%252fapp.py",
        "/static/%252e%252e/%252e%252e/code/app.py",
        "/static/..%252f..%252fcode/app.py",
        "/static/....//....//code/app.py",
        "/static/..\\..\\code\\app.py",
        "/static/..%5c..%5ccode%5capp.py",
        "/static/%c0%ae%c0%ae/app.py",
        "/static/%u002e%u002e/app.py",
        "/static/..;/..;/code/app.py",
        "/static//..//..//code/app.py",
        "/static/./../../code/app.py",
        "/static/style.css/../../../code/app.py",
        "/static/style.css%00.txt",
        "/static/%00/../app.py",
        "/static/style.css/",
        "/static/style.css/app.py",
        "/static/app.py",
        "/static/__pycache__/app.cpython-313.pyc",
        "/app.py",
        "/code/app.py",
        "/media../data/requests.jsonl",
        "/media/../data/requests.jsonl",
        "/media/..%2fdata%2frequests.jsonl",
        "/../../../../../../etc/passwd",
        "/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/static//etc/passwd",
        "/static/" + "../" * 2500 + "etc/passwd",
        "/static/" + "%2e%2e%2f" * 800 + "etc/passwd",
        "http://victim.localhost/static/../../code/app.py",
        "/static/",
        "/static",
        "/static/deeper/",
        "/media/",
    ):
        yield attack(path, name=path if len(path) < 70 else f"{path[:40]}… ({len(path)} bytes)")
    yield Attack(
        "path: /static/deeper, a directory",
        get("/static/deeper"),
        ((301,), (404,)),
        None,
        only_its_slash_is_missing,
    )
    for path in (
        "/static/passwd",
        "/static/root/etc/passwd",
        "/static/source.txt",
        "/media/passwd",
        "/media/root/etc/passwd",
        "/media/private/private.txt",
        "/static/.git/config",
        "/static/.env",
        "/static/.htaccess",
        "/static/.style.css.swp",
        "/static/deeper/.hidden",
        "/static/%2egit/config",
        "/static/deeper/%2ehidden",
        "/media/.hidden",
    ):
        kind = "a hidden file" if "/." in path or "%2e" in path else "a link"
        yield Attack(
            f"path: {kind}, {path}",
            get(path),
            ((404,), (403,)),
            harm=file_served,
            works_on_weak=True,
        )
    for path in (
        "/.git/config",
        "/.env",
        "/.htaccess",
        "/%2egit/HEAD",
        "/.well-known/../.env",
        "/.ssh/id_rsa",
    ):
        yield Attack(f"path: a hidden name, {path}", get(path), NOT_FOUND, harm=file_served)


def file_served(outcome: Outcome) -> str:
    """Anything but an error page or the app's own answer is a file or a list of them that nobody published."""
    for mark in (b"SOURCE-OF-THE-APP", b"HIDDEN-FILE", b"root:x:0", b"Index of", MARKS["neighbour"].encode()):
        if mark in outcome.raw:
            return f"{mark.decode()} came back"
    if 200 in outcome.statuses and not outcome.seen:
        return "something was served that is not the app's answer"
    return ""


def only_its_slash_is_missing(outcome: Outcome) -> str:
    """A redirect leads to the directory's own URL, which is answered by 404; Apache answers so at once."""
    targets = outcome.header("Location")
    expected = ["/static/deeper/"] if 301 in outcome.statuses else []
    return "" if targets == expected else f"the redirect leads to {targets}"


# Headers of answers


def injected(outcome: Outcome) -> str:
    for name in ("X-Injected", "Set-Cookie"):
        if outcome.header(name):
            return f"the answer has the header {name}"
    if len(outcome.statuses) > 1:
        return "there is a second answer"
    return ""


def leads_to(*origins: str) -> Harm:
    """A redirect leads to one of *origins*, and nowhere else."""

    def harm(outcome: Outcome) -> str:
        for target in outcome.header("Location"):
            if not any(re.match(rf"{re.escape(origin)}(?:[/?]|$)", target) for origin in origins):
                return f"the redirect leads to {target}"
        return injected(outcome)

    return harm


def header_injection() -> Iterator[Attack]:
    canonical = leads_to("http://victim.localhost")
    secure = leads_to("https://secured.localhost", "https://www.secured.localhost")
    split = "%0d%0aX-Injected:%201%0d%0aSet-Cookie:%20a=b%0d%0a%0d%0aHTTP/1.1%20200%20OK%0d%0a%0d%0a"
    yield Attack(
        "injection: CRLF in the path of a redirect",
        get(f"/go{split}", host="www.victim.localhost"),
        ((301,),),
        harm=canonical,
        works_on_weak=True,
    )
    for name, path in {
        "CRLF in the query": f"/?a={split}",
        "LF alone": "/%0aX-Injected:%201",
        "CR alone": "/%0dX-Injected:%201",
        "in UTF-8, cut short": "/%e5%98%8a%e5%98%8dX-Injected:%201",
        "another host in the path": "//evil.example/%2f..",
        "another host by backslashes": "/\\evil.example",
        "another host by an at": "/@evil.example",
    }.items():
        yield Attack(
            f"injection: {name}, to the canonical host",
            get(path, host="www.victim.localhost"),
            ((301,),),
            harm=canonical,
        )
        yield Attack(
            f"injection: {name}, to HTTPS", get(path, host="secured.localhost"), ((301,),), harm=secure
        )
    for port in (":80@evil.example", ":80:99", ":evil", ":80/evil.example", ":99999999999"):
        for host, harm in (("www.victim.localhost", canonical), ("secured.localhost", secure)):
            yield Attack(
                f"injection: the port {port} in Host, {host}",
                get("/", host=host + port),
                ((), (400,), (301,)),
                harm=leads_to(
                    "http://victim.localhost:99",
                    "http://victim.localhost:99999999999",
                    "http://victim.localhost",
                )
                if harm is canonical
                else harm,
            )
    yield Attack(
        "injection: an absolute URI of another host",
        get("http://evil.example/", host="www.victim.localhost"),
        REFUSED,
        harm=canonical,
    )


# Hosts


def host_confusion() -> Iterator[Attack]:
    for host in (
        "unknown.localhost",
        "localhost",
        "127.0.0.1",
        "[::1]",
        "",
        "_",
        "*",
        "vic_tim.localhost",
        "victim.localhost.evil.example",
        "evil.example/victim.localhost",
        "victim.localhost@evil.example",
        "victim.localhost, neighbour.localhost",
        "victim.localhost neighbour.localhost",
        "victim.localhost#neighbour.localhost",
        "victim.localhost/../neighbour.localhost",
        "victim.localhost\0neighbour.localhost",
        "victim.localhost\tneighbour.localhost",
        "victim.localhost..",
        "emperor-stack.invalid",
    ):
        yield Attack(f"host: {host!r}", get("/status", host=host), (*REFUSED, (421,)), harm=inside)
    yield Attack(
        "host: our own status page, said to come from this host",
        get("/status", "X-Forwarded-For: 127.0.0.1", "X-Real-IP: ::1", host="emperor-stack.invalid"),
        REFUSED,
        harm=inside,
    )
    yield Attack("host: the address", lambda arena: arena.exchange(get("/", host=arena.address)), REFUSED)
    yield Attack("host: none", lines("GET / HTTP/1.1", "Connection: close"), REFUSED)
    yield Attack("host: none, in HTTP/1.0", lines("GET / HTTP/1.0"), REFUSED)
    yield Attack("host: two", get("/", "Host: neighbour.localhost"), REFUSED)
    yield Attack("host: the same twice", get("/", "Host: victim.localhost"), REFUSED)
    yield Attack(
        "host: another one in a folded line", get("/", host="unknown.localhost\r\n victim.localhost"), REFUSED
    )
    for host in ("victim.localhost:80", "victim.localhost.", "VICTIM.LocalHost", "victim.localhost:12345"):
        yield Attack(
            f"host: {host}",
            get("/", host=host),
            ONCE,
            (("victim GET /",),),
            forged("neighbour", "VICTIM", "localhost.", names=("REQUEST_URI",)),
        )
    yield Attack(
        "host: an absolute URI and another Host",
        get("http://victim.localhost/", host="neighbour.localhost"),
        ONCE,
        (("victim GET /",),),
        forged("neighbour"),
    )
    yield Attack(
        "host: an absolute URI with a user",
        get("http://neighbour.localhost@victim.localhost/"),
        (*ONCE, *REFUSED),
        (("victim GET /",), ()),
        forged("neighbour", names=("REQUEST_URI",)),
    )
    for name in ("X-Forwarded-Host", "X-Host", "X-Original-Host", "Forwarded", "X-Forwarded-Server"):
        value = "host=neighbour.localhost" if name == "Forwarded" else "neighbour.localhost"
        own = f"HTTP_{name.upper().replace('-', '_')}"
        yield Attack(
            f"host: {name}",
            get("/", f"{name}: {value}"),
            ONCE,
            (("victim GET /",),),
            # Names that no framework believes by itself may pass as what they are.
            forged("neighbour", names=(own,) if name in ("X-Host", "X-Original-Host") else ()),
        )
    for name in ("X-Original-URL", "X-Rewrite-URL", "X-HTTP-DestinationURL"):
        own = f"HTTP_{name.upper().replace('-', '_')}"
        yield Attack(
            f"host: {name}",
            get("/public", f"{name}: /admin"),
            ONCE,
            (("victim GET /public",),),
            forged("/admin", names=(own,) if name.startswith("X-HTTP") else ()),
        )
    # Over TLS the name is said twice.
    for host in ("victim.localhost", "neighbour.localhost", "unknown.localhost"):
        yield Attack(f"host: SNI of secured, Host {host}", get("/", host=host), REFUSED + ((421,),), tls=True)
    yield Attack(
        "host: SNI of www.secured, Host secured",
        lambda arena: arena.exchange(get("/", host="secured.localhost"), True, "www.secured.localhost"),
        ((200,), (421,)),
        (("secured GET /",), ()),
        tls=True,
    )


def inside(outcome: Outcome) -> str:
    return "what is for this host only came back" if b"Active connections" in outcome.raw else ""


# What only the front may say


def spoofing() -> Iterator[Attack]:
    lie = "203.0.113.66"
    for name in (
        "X-Forwarded-For",
        "X-Real-IP",
        "Client-IP",
        "X-Client-IP",
        "True-Client-IP",
        "CF-Connecting-IP",
    ):
        own = f"HTTP_{name.upper().replace('-', '_')}"
        known = name in ("X-Forwarded-For", "X-Real-IP")
        yield Attack(
            f"spoofing: the client's address by {name}",
            get("/spoof", f"{name}: {lie}"),
            ONCE,
            (("victim GET /spoof",),),
            forged(lie, names=() if known else (own,)),
            works_on_weak=name == "X-Forwarded-For",
        )
    for name, header in {
        "httpoxy": f"Proxy: {lie}",
        "X_Forwarded_For": f"X_Forwarded_For: {lie}",
        "X_Real_IP": f"X_Real_IP: {lie}",
        "Remote_User": f"Remote_User: {lie}",
        "Remote_Addr": f"Remote_Addr: {lie}",
        "Script_Name": f"Script_Name: {lie}",
        "Content_Length": f"Content_Length: {lie}",
        "X-Script-Name": f"X-Script-Name: {lie}",
        "X-Forwarded-Prefix": f"X-Forwarded-Prefix: {lie}",
        "X-Forwarded-Port": f"X-Forwarded-Port: {lie}",
        # Of these three some WSGI middleware makes the host and the scheme, PasteDeploy's for one.
        "X-Forwarded-Server": f"X-Forwarded-Server: {lie}",
        "X-Forwarded-Scheme": f"X-Forwarded-Scheme: {lie}",
        "X-Forwarded-Protocol": f"X-Forwarded-Protocol: {lie}",
        "X-Forwarded-Ssl": f"X-Forwarded-Ssl: on{lie}",
        "X-Request-ID": f"X-Request-ID: {lie}",
        "X_Request_ID": f"X_Request_ID: {lie}",
    }.items():
        yield Attack(
            f"spoofing: {name}",
            get("/spoof", header),
            ONCE,
            (("victim GET /spoof",),),
            forged(lie),
            works_on_weak=name == "httpoxy" or "_" in name,
        )
    for name in (
        "Remote-User",
        "Remote-Addr",
        "Script-Name",
        "Path-Info",
        "Request-Method",
        "Https",
        "UWSGI-File",
        "UWSGI-Script",
        "UWSGI-Module",
        "UWSGI-Chdir",
        "UWSGI-Setenv",
        "UWSGI-Appid",
        "UWSGI-Home",
        "UWSGI-Touch-Reload",
        "Wsgi.Url-Scheme",
        "Document-Root",
    ):
        own = f"HTTP_{name.upper().replace('-', '_')}"
        yield Attack(
            f"spoofing: the variable {name} by a header",
            get("/spoof", f"{name}: {lie}"),
            (*ONCE, *REFUSED),
            (("victim GET /spoof",), ()),
            # As a header of that name it may arrive: HTTP_… is what visitors say.
            forged(lie, names=(own,)),
        )
    for name in ("X-Forwarded-Proto", "X-Forwarded-Scheme", "X-Url-Scheme", "Front-End-Https"):
        yield Attack(
            f"spoofing: HTTPS by {name}",
            get("/spoof", f"{name}: https", host="secured.localhost"),
            ((301,),),
            harm=leads_to("https://secured.localhost"),
        )
    yield Attack(
        "spoofing: HTTPS by the probe's header",
        get("/spoof", "X-Emperor-Stack-Probe: https", host="secured.localhost"),
        ((301,),),
        harm=leads_to("https://secured.localhost"),
    )
    yield Attack(
        "spoofing: the probe's header from this host, said by another",
        get("/spoof", "X-Emperor-Stack-Probe: https", "X-Forwarded-For: 127.0.0.1", host="secured.localhost"),
        ((301,),),
        harm=leads_to("https://secured.localhost"),
    )
    for name in ("X-Accel-Redirect", "X-Sendfile", "X-Lighttpd-Send-File", "X-Accel-Internal"):
        yield Attack(
            f"spoofing: a visitor's {name}",
            get("/spoof", f"{name}: /files/passwd"),
            ONCE,
            (("victim GET /spoof",),),
            file_served,
        )
    yield Attack(
        "spoofing: an app's X-Accel-Redirect to what is not its own",
        get("/accel?to=/files/passwd"),
        ((200,), (404,)),
        (("victim GET /accel", "victim GET /files/passwd"),),
        file_served,
        works_on_weak=True,
    )
    for target, answers in {
        "/etc/passwd": ONCE,
        "/static/../../code/app.py": ((200,), (404,), (500,)),
        "/static../app.py": ((200,), (404,)),
        "/static/.env": NOT_FOUND,
        "/media/passwd": ((403,), (404,)),
        "/media/.hidden": NOT_FOUND,
        "http://neighbour.localhost/": ((200,), (404,), (500,), (502,)),
        "@neighbour": ((404,), (500,), (200,), (502,)),
        "/accel?to=/accel": ((500,), (502,), (200,)),
    }.items():
        yield Attack(
            f"spoofing: an app's X-Accel-Redirect to {target}",
            get(f"/accel?to={target.replace('&', '%26').replace('?', '%3f').replace('=', '%3d')}"),
            answers,
            None,
            either(file_served_by_app, only("victim")),
        )
    yield Attack(
        "spoofing: an app's X-Sendfile",
        get("/sendfile?to=/etc/passwd"),
        ONCE,
        (("victim GET /sendfile",),),
        file_served,
    )


def file_served_by_app(outcome: Outcome) -> str:
    found = file_served(outcome)
    return "" if found.startswith("something") else found


# Sizes and ranges


def oversize() -> Iterator[Attack]:
    for name, sent, answers in (
        ("a header of 9 kB", get("/big", f"X-A: {'x' * 9000}"), ((400,),)),
        ("a header of 1 MB", get("/big", f"X-A: {'x' * 1_000_000}"), ((400,), ())),
        ("200 headers of 200 bytes", get("/big", *(f"X-{n}: {'x' * 200}" for n in range(200))), ((400,),)),
        ("20000 headers", get("/big", *(f"X-{n}: x" for n in range(20000))), ((400,), ())),
        ("40 cookies of 1 kB", get("/big", *(f"Cookie: c{n}={'x' * 1000}" for n in range(40))), ((400,),)),
        ("a URL of 9 kB", get("/" + "x" * 9000), ((414,),)),
        ("a URL of 1 MB", get("/" + "x" * 1_000_000), ((414,), ())),
        ("a query of 9 kB", get("/?" + "x" * 9000), ((414,),)),
        ("a method of 9 kB", lines(f"{'G' * 9000} / HTTP/1.1", "Host: victim.localhost"), (*REFUSED, (414,))),
        ("a Host of 5 kB", get("/", host="x" * 5000 + ".localhost"), (*REFUSED, (414,))),
        ("a body above the limit", post(f"Content-Length: {(1 << 20) + 1}", body=b""), ((413,),)),
        ("a body of a terabyte", post(f"Content-Length: {1 << 40}", body=b"x" * 1000), ((413,),)),
        (
            "a chunked body above the limit",
            post("Transfer-Encoding: chunked", body=b"10000\r\n" + b"x" * 65536 + b"\r\n")
            + b"10000\r\n"
            + b"x" * 65536
            + (b"\r\n10000\r\n" + b"x" * 65536) * 20,
            ((413,), ()),
        ),
        (
            "a chunk above the limit",
            post("Transfer-Encoding: chunked", body=b"40000000\r\n" + b"x" * 1000),
            ((413,),),
        ),
    ):
        yield Attack(f"size: {name}", sent, answers)
    yield Attack(
        "size: 1 MB of empty lines",
        b"\r\n" * 500_000 + get("/big"),
        (*REFUSED, *ONCE),
        ((), ("victim GET /big",)),
    )
    for name, ranges in {
        "1000 overlapping ranges": ",".join(["0-"] * 1000),
        "1000 ranges of a byte": ",".join(f"{n % 30}-{n % 30}" for n in range(1000)),
        "a range without an end above 64 bits": "18446744073709551615-",
        "a range from behind, above 64 bits": "-18446744073709551616",
        "a negative range below the cache's head": "-9223372036854775608,-17208",
    }.items():
        yield Attack(
            f"size: {name}",
            get("/static/style.css", f"Range: bytes={ranges}"),
            ((200,), (206,), (416,)),
            harm=multiplied,
        )


def multiplied(outcome: Outcome) -> str:
    return f"{len(outcome.raw)} bytes came for a file of 50" if len(outcome.raw) > 3000 else ""


# Methods


def methods() -> Iterator[Attack]:
    for method, answers in {
        "TRACE": ((405,), (400,)),
        "TRACK": ONCE,
        "DEBUG": ONCE,
        "PROPFIND": ONCE,
        "MOVE": ONCE,
        "PURGE": ONCE,
    }.items():
        # Those that mean nothing to the front are the app's business.
        wanted = ((f"victim {method} /method",),) if answers == ONCE else NOTHING
        sent = get("/method", "X-Cookie-Like: secret-of-a-browser").replace(b"GET", method.encode(), 1)
        yield Attack(f"method: {method}", sent, answers, wanted, echoed)
    for method in ("PUT", "DELETE", "MKCOL", "MOVE", "COPY", "POST", "PROPFIND"):
        sent = get("/static/style.css", "Destination: /static/other.css", "Content-Length: 0").replace(
            b"GET", method.encode(), 1
        )
        yield Attack(f"method: {method} on a file", sent, ((405,), (400,), (403,), (404,)))
    yield Attack(
        "method: CONNECT",
        lines("CONNECT neighbour.localhost:80 HTTP/1.1", "Host: neighbour.localhost:80", body=SMUGGLED),
        (*REFUSED, (405,)),
    )
    yield Attack(
        "method: CONNECT to the victim",
        lines("CONNECT victim.localhost:80 HTTP/1.1", "Host: victim.localhost", body=SMUGGLED),
        (*REFUSED, (405,)),
    )
    yield Attack(
        "method: OPTIONS *", lines("OPTIONS * HTTP/1.1", "Host: victim.localhost"), (*REFUSED, (405,))
    )


def echoed(outcome: Outcome) -> str:
    return "the request came back" if b"secret-of-a-browser" in outcome.raw else ""


# TLS


def openssl(*options: str, say: str = "") -> Callable[[Arena], bytes]:
    """A handshake by OpenSSL's own client; what it tells of it."""

    def sends(arena: Arena) -> bytes:
        command = ["openssl", "s_client", "-connect", f"{arena.address}:443", *options]
        with contextlib.suppress(subprocess.TimeoutExpired):
            done = subprocess.run(command, input=say.encode(), capture_output=True, timeout=15, check=False)
            return done.stdout + done.stderr
        return b""

    return sends


def tls() -> Iterator[Attack]:
    weak = "-cipher", "ALL:@SECLEVEL=0"
    secured = "-servername", "secured.localhost"
    for name, options in {
        "TLS 1.0": (*secured, "-tls1", *weak),
        "TLS 1.1": (*secured, "-tls1_1", *weak),
        "ciphers without forward secrecy": (
            *secured,
            "-tls1_2",
            "-cipher",
            "AES128-SHA:AES256-SHA:@SECLEVEL=0",
        ),
        "CBC ciphers": (
            *secured,
            "-tls1_2",
            "-cipher",
            "ECDHE-RSA-AES128-SHA:ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0",
        ),
        "ciphers without encryption": (*secured, "-tls1_2", "-cipher", "eNULL:aNULL:@SECLEVEL=0"),
    }.items():
        yield Attack(f"TLS: {name}", openssl(*options), ((),), harm=agreed)
    for name, options in {
        "no name of a site": ("-noservername",),
        "the name of no site": ("-servername", "unknown.localhost"),
        "the name of a site without TLS": ("-servername", "victim.localhost"),
    }.items():
        yield Attack(f"TLS: {name}", openssl(*options), ((),), harm=certificate_shown)
    yield Attack(
        "TLS: a handshake that begins anew",
        openssl(*secured, "-tls1_2", say="R\n"),
        ((),),
        harm=lambda outcome: "" if b"no renegotiation" in outcome.raw else "it was not refused",
    )
    yield Attack(
        "TLS: plain HTTP on its port",
        lambda arena: arena.on(443).exchange(get("/smuggled", host="secured.localhost")),
        REFUSED,
    )
    yield Attack(
        "TLS: plain HTTP for another site on its port",
        lambda arena: arena.on(443).exchange(get("/smuggled")),
        REFUSED,
    )


def agreed(outcome: Outcome) -> str:
    found = re.search(rb"Cipher\s+(?:is|:) (?!0000|\(NONE\))(\S+)", outcome.raw)
    return f"a connection was made with {found[1].decode()}" if found else ""


def certificate_shown(outcome: Outcome) -> str:
    return "a certificate came" if b"BEGIN CERTIFICATE" in outcome.raw else agreed(outcome)


GROUPS = (smuggling, over_http2, paths, header_injection, host_confusion, spoofing, oversize, methods, tls)
ATTACKS = [attack for group in GROUPS for attack in group()]
