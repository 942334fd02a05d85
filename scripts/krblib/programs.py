"""Real programs with tickets: ZooKeeper's shell by Krb5LoginModule, and kazoo."""

import importlib.machinery
import importlib.util
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
APACHE = os.path.join(ROOT, "scripts", "apache")
SHELL = "org.apache.zookeeper.ZooKeeperMain"
SERVICE = "zookeeper/localhost@ZKD.TEST"
LIMIT_S = 90

KAZOO = """
import logging, sys
from kazoo.client import KazooClient
from kazoo.exceptions import AuthFailedError, ConnectionClosedError, KazooException
from kazoo.security import ACL, Id
logging.disable(logging.CRITICAL)
port, service = sys.argv[1], sys.argv[2]
options = {"mechanism": "GSSAPI", "service": service}
client = KazooClient(hosts=f"localhost:{port}", timeout=10, sasl_options=options)
try:
    client.start(timeout=15)
    client.exists("/")
except (AuthFailedError, ConnectionClosedError, client.handler.timeout_exception):
    # Which of them, is chance.
    print("does not get in")
    sys.exit()
for title, action in (
    ("creates", lambda: client.create("/kazoo", b"x", acl=[ACL(31, Id("sasl", "bob@ZKD.TEST"))])),
    ("gets", lambda: client.get("/kazoo")[0]),
    ("is", lambda: client.get_acls("/kazoo")[0]),
):
    try:
        print(title, action())
    except KazooException as error:
        print(title, type(error).__name__)
client.stop()
client.close()
"""


def shells(world, port):
    """What the shells of three people print; ids and times are left out."""
    seen = {}
    for name, where in ("bob", "ZKD.TEST"), ("eve", "ZKD.TEST"), ("mallory", "OTHER.TEST"):
        login = world.login_file(f"client-{name}", "Client", world.keytabs[name], f"{name}@{where}")
        flags = [
            f"-Djava.security.auth.login.config={login}", "-Duser.language=en",
            f"-Djava.security.krb5.conf={world.kdc.confs[where]}", "-Dorg.apache.logging.log4j.level=ERROR",
            f"-Dzookeeper.server.principal={SERVICE.replace('ZKD.TEST', where)}",
        ]
        commands = "whoami\ncreate /bob x sasl:bob@ZKD.TEST:cdrwa\ngetAcl /bob\nget /bob\nquit\n"
        answer = subprocess.run(
            [APACHE, "java", "3.9.5", *flags, SHELL, "-server", f"localhost:{port}"],
            input=commands, capture_output=True, text=True, timeout=LIMIT_S,
        )
        wanted = r"^(sasl: |Created|'sasl|: |x$|Insufficient|Authentication|Node already|.*KeeperE)"
        said = [re.sub(r"^(\[zk: [^\]]*\] ?)+", "", line)
                for line in (answer.stdout + answer.stderr).splitlines()]
        states = sorted({w for line in said for w in re.findall(r"state:(\w+)", line)})
        seen[name] = [line for line in said if re.match(wanted, line)] + states
    return seen


def python_packages():
    """Where kazoo and pure-sasl are, of the versions that `scripts/interop` has."""
    loader = importlib.machinery.SourceFileLoader("interop", os.path.join(ROOT, "scripts", "interop"))
    interop = importlib.util.module_from_spec(importlib.util.spec_from_loader("interop", loader))
    loader.exec_module(interop)
    wanted = ("kazoo", interop.KAZOO), ("pure-sasl", interop.PURE_SASL)
    return [interop.python_package(*one) for one in wanted]


def kazoo(world, port):
    """Who does what by kazoo, pure-sasl and Debian's python3-kerberos."""
    seen, folders = {}, python_packages()
    for name in "bob", "eve", "mallory":
        env = dict(world.tickets[name], PYTHONPATH=":".join(folders))
        answer = subprocess.run(
            [sys.executable, "-c", KAZOO, str(port), "zookeeper"], env=env, capture_output=True,
            text=True, timeout=LIMIT_S,
        )
        seen[name] = (answer.stdout + answer.stderr).splitlines()
    return seen
