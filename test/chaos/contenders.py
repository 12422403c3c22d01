"""What stands in the test between application and servers.

A contender has a name, the worker program that is run, the connection string that it gets, and,
where it needs one, a process of its own between `enter` and `leave`. Its claims are judged
(`is_judged`) or only shown beside the others'.
"""

import signal
import subprocess
import time


class Contender:
    name = ""
    worker = ""
    is_judged = True
    environment = {}

    def conninfo(self, cluster):
        return cluster.hosts

    def enter(self, cluster, folder, programs):
        """Before the worker starts."""

    def leave(self):
        """After it has ended."""


class Libpq(Contender):
    name = "libpq"
    worker = "worker_libpq"
    is_judged = False


class LibpqSpread(Libpq):
    """Reads go to replicas, as they do where load is to be spread."""

    name = "libpq+replicas"
    environment = {"CHAOS_SPREAD": "yes"}


class Holdfast(Contender):
    name = "libholdfast"
    worker = "worker_holdfast"


class HoldfastLoop(Contender):
    """Its asynchronous half."""

    name = "libholdfast-async"
    worker = "worker_loop"


class Proxy(Contender):
    """The plain libpq worker, through `holdfast proxy` on the application's machine."""

    name = "proxy"
    worker = "worker_libpq"
    is_judged = False  # until it promises across several servers what the library does
    PORT = 6432

    def __init__(self):
        self.process = None

    def conninfo(self, cluster):
        return f"host=127.0.0.1 port={self.PORT} user=postgres dbname=postgres"

    def enter(self, cluster, folder, programs):
        hosts = ",".join(f"{server.address}:{server.port}" for server in cluster.servers.values())
        config = folder / "holdfast.yml"
        config.write_text(f"proxy:\n  listen: 127.0.0.1\n  port: {self.PORT}\n"
                          f"  unix_socket_dir: {folder}\n  auth_type: trust\n"
                          f"databases:\n  postgres:\n    hosts: \"{hosts}\"\n")
        command = cluster.network.inside("app", ["setpriv", "--pdeathsig", "KILL",
                                                 programs["holdfast"], "proxy", "--config", config])
        with open(folder / "proxy.log", "wb") as log:
            self.process = subprocess.Popen([str(word) for word in command], stdout=log, stderr=log,
                                            stdin=subprocess.DEVNULL)
        time.sleep(0.5)

    def leave(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()


ALL = [Libpq, LibpqSpread, Holdfast, HoldfastLoop, Proxy]
