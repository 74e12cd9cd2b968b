"""An app that tries everything against its neighbours, itself and the host, and says what came of it.

POST /attempt/<name> with the facts as JSON: the answer is {"got": …} where the attempt went through, {"refused": …} where
it did not. `python3 app.py <facts.json>` makes the attempts that do no harm, which as root must go through: an attempt
that cannot succeed proves nothing. POST /run runs a function of the source that is posted with it, as somebody can who has
taken over an app.
"""

import contextlib
import ctypes
import errno
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time

ATTEMPTS = {}


class Refused(Exception):
    """The attempt did not get what it wanted."""


def attempt(harmless=True):
    def register(function):
        ATTEMPTS[function.__name__] = (function, harmless)
        return function

    return register


def read(path):
    with open(path, "rb") as file:
        return f"{len(file.read(4096))} bytes of {path}"


def overwrite(path):
    """Open it for writing and leave it as it is."""
    os.close(os.open(path, os.O_WRONLY))
    return f"{path} is writable"


def create(directory):
    path = f"{directory}/planted"
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    os.unlink(path)
    return f"a file in {directory}"


def connect(path):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(path)
    return f"connected to {path}"


def reach(pid):
    os.kill(pid, 0)
    return f"process {pid} can be signalled"


# Reading what is the neighbour's


@attempt()
def read_code(facts):
    return read(f"{facts['release']}/code/app.py")


@attempt()
def list_code(facts):
    return os.listdir(f"{facts['release']}/code")


@attempt()
def read_dependencies(facts):
    return os.listdir(f"{facts['release']}/venv/lib")


@attempt()
def read_secrets(facts):
    return read(f"{facts['release']}/environment.json")


@attempt()
def read_vassal(facts):
    return read(f"{facts['release']}/vassal.ini")


@attempt()
def read_manifest(facts):
    return read(f"{facts['release']}/release.json")


@attempt()
def list_releases(facts):
    return os.listdir(facts["releases"])


@attempt()
def read_data(facts):
    return read(f"{facts['shared']}/data/private.txt")


@attempt()
def read_cache(facts):
    return os.listdir(facts["cache"])


@attempt()
def read_history(facts):
    return read(f"{facts['state']}/history.jsonl")


@attempt()
def read_environment_of_process(facts):
    return read(f"/proc/{facts['worker']}/environ")


@attempt()
def read_memory_of_process(facts):
    return read(f"/proc/{facts['worker']}/maps")


@attempt()
def read_files_of_process(facts):
    return os.listdir(f"/proc/{facts['worker']}/fd")


@attempt()
def trace_process(facts):
    libc = ctypes.CDLL(None, use_errno=True)
    attach, detach = 16, 17
    if libc.ptrace(attach, facts["worker"], None, None):
        raise OSError(ctypes.get_errno(), "ptrace")
    os.waitpid(facts["worker"], 0x40000000)
    libc.ptrace(detach, facts["worker"], None, None)
    return "attached"


@attempt()
def read_access_log(facts):
    return read(facts["access_log"])


@attempt()
def read_journal(facts):
    said = subprocess.run(
        ["journalctl", "--namespace=apps", "-q", "-n", "5", f"_UID={facts['uid']}"],
        capture_output=True,
        text=True,
        check=False,
    )
    if said.returncode or not said.stdout.strip():
        raise Refused(said.stderr.strip() or "no lines")
    return said.stdout


@attempt()
def read_static_of_neighbour_by_link(facts):
    """A link in the own upload directory, which nginx serves, to the neighbour's data."""
    link = f"{facts['own_media']}/planted.txt"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(link)
    os.symlink(f"{facts['shared']}/data/private.txt", link)
    try:
        with socket.create_connection(("127.0.0.1", 80), 5) as client:
            client.sendall(b"GET /media/planted.txt HTTP/1.0\r\nHost: hostile.localhost\r\n\r\n")
            answer = b""
            while piece := client.recv(4096):
                answer += piece
    finally:
        os.unlink(link)
    if b" 200 " not in answer.splitlines()[0]:
        raise Refused(answer.splitlines()[0].decode())
    return answer.decode()


# Changing what is the neighbour's


@attempt()
def write_data(facts):
    return create(f"{facts['shared']}/data")


@attempt()
def signal_master(facts):
    return reach(facts["master"])


@attempt()
def signal_worker(facts):
    return reach(facts["worker"])


@attempt()
def signal_emperor(facts):
    return reach(facts["emperor"])


@attempt()
def signal_nginx(facts):
    return reach(facts["nginx"])


@attempt()
def connect_to_socket(facts):
    return connect(facts["socket"])


@attempt()
def connect_to_statistics(facts):
    return connect(facts["statistics"])


@attempt()
def connect_to_emperor(facts):
    return connect(facts["emperor_statistics"])


@attempt()
def bind_in_socket_directory(facts):
    path = f"{facts['socket_directory']}/planted.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
    os.unlink(path)
    return path


@attempt()
def bind_where_the_emperor_does(facts):
    path = f"{facts['waiting']}/planted.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
    os.unlink(path)
    return path


@attempt()
def move_socket_away(facts):
    os.rename(facts["socket"], f"{facts['socket']}.gone")
    os.rename(f"{facts['socket']}.gone", facts["socket"])
    return facts["socket"]


@attempt()
def switch_neighbour(facts):
    return create(facts["root"])


# Changing what one runs oneself


@attempt()
def rewrite_own_vassal(facts):
    return overwrite(facts["own_settings"])


@attempt()
def rewrite_own_code(facts):
    return overwrite(f"{facts['own_release']}/code/app.py")


@attempt()
def rewrite_own_entry(facts):
    return overwrite(f"{facts['own_release']}/entry.py")


@attempt()
def open_own_code(facts):
    os.chmod(f"{facts['own_release']}/code/app.py", 0o640)
    return "chmod"


@attempt()
def add_a_vassal(facts):
    return create(facts["vassals"])


@attempt()
def touch_own_vassal(facts):
    """The emperor would reload it: in place, past every probe. The link is the app's, so that its times are too."""
    found = os.lstat(facts["own_vassal"])
    os.utime(facts["own_vassal"], ns=(found.st_atime_ns, found.st_mtime_ns), follow_symlinks=False)
    return facts["own_vassal"]


@attempt()
def rewrite_own_site(facts):
    return overwrite("/etc/nginx/emperor-stack/sites/hostile.conf")


@attempt()
def rewrite_own_limits(facts):
    return overwrite("/etc/systemd/system/apps-hostile.slice")


@attempt()
def raise_own_memory_limit(facts):
    return overwrite(facts["own_memory_limit"])


@attempt()
def leave_own_slice(facts):
    return overwrite(
        f"{os.path.dirname(os.path.dirname(os.path.dirname(facts['own_memory_limit'])))}/cgroup.procs"
    )


# Becoming somebody else


@attempt(harmless=False)
def become_root(facts):
    os.setuid(0)
    return "root"


@attempt(harmless=False)
def become_neighbour(facts):
    os.setuid(facts["uid"])
    return "the neighbour"


@attempt(harmless=False)
def gain_by_setuid_program(facts):
    """With the flag set, the kernel ignores the setuid bit of su and its like."""
    with open("/proc/self/status", encoding="ascii") as file:
        flag = next(line.split()[1] for line in file if line.startswith("NoNewPrivs:"))
    if flag == "1":
        raise Refused("NoNewPrivs")
    return "setuid programs work"


@attempt()
def read_shadow(facts):
    return read("/etc/shadow")


@attempt()
def read_home_of_root(facts):
    return os.listdir("/root")


@attempt(harmless=False)
def stop_unit(facts):
    done = subprocess.run(
        ["systemctl", "--no-ask-password", "stop", "nginx"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Refused(done.stderr.strip().splitlines()[-1])
    return "stopped nginx"


@attempt(harmless=False)
def start_unit(facts):
    done = subprocess.run(
        ["systemd-run", "--no-ask-password", "--wait", "id"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Refused(done.stderr.strip().splitlines()[-1])
    return "a unit of root"


@attempt()
def listen_in_place_of_nginx(facts):
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        server.bind(("127.0.0.1", 443))
    return "port 443"


# Exhausting the host


@attempt(harmless=False)
def exhaust_processes(facts):
    children = []
    try:
        while len(children) < 2000:
            child = os.fork()
            if not child:
                signal.alarm(20)
                signal.pause()
            children.append(child)
    except OSError as error:
        raise Refused(f"{errno.errorcode[error.errno]} after {len(children)}") from None
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
        for child in children:
            os.waitpid(child, 0)
    return f"{len(children)} processes"


@attempt(harmless=False)
def exhaust_files(facts):
    opened = []
    try:
        while len(opened) < 20000:
            opened.append(os.open("/dev/null", os.O_RDONLY))
    except OSError as error:
        raise Refused(f"{errno.errorcode[error.errno]} after {len(opened)}") from None
    finally:
        for one in opened:
            os.close(one)
    return f"{len(opened)} files"


@attempt(harmless=False)
def raise_file_limit(facts):
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard + 1, hard + 1))
    except ValueError as error:
        raise Refused(str(error)) from None
    return f"{hard + 1} files"


@attempt(harmless=False)
def exhaust_memory(facts):
    """In a child: the kernel ends whoever takes too much."""
    child = os.fork()
    if not child:
        taken = []
        while len(taken) < 64:
            taken.append(bytearray(os.urandom(1)) * (16 * 1024 * 1024))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        raise Refused(signal.Signals(os.WTERMSIG(status)).name)
    if os.WEXITSTATUS(status):
        raise Refused(f"exit status {os.WEXITSTATUS(status)}")
    return "1 GiB"


@attempt(harmless=False)
def exhaust_processor(facts):
    """Four processes that compute for three seconds; more than the share of one app is what they want."""
    seconds, children = 3, []
    for _ in range(4):
        child = os.fork()
        if not child:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                pass
            os._exit(0)
        children.append(child)
    used = 0.0
    for child in children:
        *_, usage = os.wait4(child, 0)
        used += usage.ru_utime + usage.ru_stime
    if used < seconds:
        raise Refused(f"{used / seconds:.2f} cores")
    return f"{used / seconds:.2f} cores"


def make(name, facts):
    function, _ = ATTEMPTS[name]
    try:
        return {"got": str(function(facts))[:200]}
    except Refused as error:
        return {"refused": str(error)}
    except OSError as error:
        # What is not there proves nothing, unless it is hidden from this user.
        return {"refused": errno.errorcode.get(error.errno, str(error))}


def run(request):
    names = {"__name__": "posted"}
    try:
        exec(compile(request["source"], "posted", "exec"), names)  # noqa: S102
        return names[request["call"]](request["facts"])
    except Exception as error:
        return {"raised": f"{type(error).__name__}: {error}"}


def application(environ, start_response):
    name = environ["PATH_INFO"].removeprefix("/attempt/")
    if environ["PATH_INFO"] == "/attempts":
        answer = list(ATTEMPTS)
    elif environ["PATH_INFO"] == "/run":
        answer = run(json.load(environ["wsgi.input"]))
    elif name in ATTEMPTS:
        answer = make(name, json.load(environ["wsgi.input"]))
    else:
        answer = {"worker": os.getpid()}
    body = json.dumps(answer).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        given = json.load(file)
    print(json.dumps({name: make(name, given) for name, (_, harmless) in ATTEMPTS.items() if harmless}))
