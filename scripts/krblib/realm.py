"""Kerberos realms of their own in a folder: one KDC on a loopback port serves them all, nothing of
the machine's configuration is read or written, and the KDC is ended by its id."""

import os
import secrets
import socket
import struct
import subprocess
import time

import ports

SKEW_S = 5
PATIENCE_S = 30
# Variables that would lead to the machine's own files.
FOREIGN = ("KRB5_CONFIG", "KRB5_KTNAME", "KRB5CCNAME", "KRB5RCACHENAME", "KRB5RCACHETYPE",
           "KRB5_KDC_PROFILE", "KRB5_TRACE")


class Kdc:
    """Realms without trust in each other."""

    def __init__(self, folder, *realms):
        self.folder, self.port = folder, ports.Port()
        # Each realm's own view; servers have the first one's.
        self.confs = {realm: os.path.join(folder, f"{realm}.conf") for realm in realms}
        self.conf = self.confs[realms[0]]
        self.env = dict(
            without(FOREIGN), KRB5_CONFIG=self.conf, KRB5_KDC_PROFILE=os.path.join(folder, "kdc.conf"),
            KRB5RCACHEDIR=folder, KRB5CCNAME=os.path.join(folder, "nobody"), LC_ALL="C.UTF-8",
        )
        self.configure(realms)
        for realm in realms:
            self.run("kdb5_util", "-r", realm, "create", "-s", "-P", secrets.token_hex(16))
        self.log = open(os.path.join(folder, "kdc.log"), "ab")
        words = [word for realm in realms for word in ("-r", realm)]
        self.child = subprocess.Popen(
            ["/usr/sbin/krb5kdc", "-n", *words], env=self.env, stdin=subprocess.DEVNULL,
            stdout=self.log, stderr=self.log, cwd=folder,
        )
        end = time.monotonic() + PATIENCE_S
        while not self.answers():
            if self.child.poll() is not None or time.monotonic() > end:
                with open(self.log.name, errors="replace") as text:
                    raise RuntimeError("the KDC does not serve\n" + text.read()[-2000:])
            time.sleep(0.02)

    def configure(self, realms):
        port, folder = self.port.number, self.folder
        known = "".join(f"  {realm} = {{\n    kdc = 127.0.0.1:{port}\n  }}\n" for realm in realms)
        for realm, conf in self.confs.items():
            with open(conf, "w") as out:
                out.write(
                    f"[libdefaults]\n  default_realm = {realm}\n  clockskew = {SKEW_S}\n"
                    "  dns_lookup_kdc = false\n  dns_lookup_realm = false\n  rdns = false\n"
                    "  dns_canonicalize_hostname = false\n  udp_preference_limit = 1\n"
                    f"[realms]\n{known}[domain_realm]\n  localhost = {realm}\n"
                )
        with open(self.env["KRB5_KDC_PROFILE"], "w") as out:
            out.write(
                f"[kdcdefaults]\n  kdc_listen = 127.0.0.1:{port}\n"
                f"  kdc_tcp_listen = 127.0.0.1:{port}\n[realms]\n"
            )
            for realm in realms:
                out.write(
                    f"  {realm} = {{\n    database_name = {folder}/{realm}.db\n"
                    f"    key_stash_file = {folder}/{realm}.stash\n    max_life = 1h\n"
                    f"    acl_file = {folder}/{realm}.acl\n"
                    "    supported_enctypes = aes256-cts-hmac-sha1-96:normal\n  }\n"
                )

    def run(self, *words, said=None, env=None):
        for place in "/usr/sbin", "/usr/bin":
            if os.path.exists(os.path.join(place, words[0])):
                words = (os.path.join(place, words[0]), *words[1:])
        answer = subprocess.run(
            words, env=env or self.env, input=said, capture_output=True, text=True, timeout=60
        )
        if answer.returncode != 0:
            raise RuntimeError(f"{' '.join(words)}: {answer.stdout}{answer.stderr}")
        return answer.stdout

    def answers(self):
        try:
            socket.create_connection(("127.0.0.1", self.port.number), 2).close()
            return True
        except OSError:
            return False

    def admin(self, realm, request):
        return self.run("kadmin.local", "-r", realm, "-q", request)

    def principal(self, name, realm):
        """A new principal, and a keytab with its keys."""
        keytab = os.path.join(self.folder, f"{name}@{realm}.keytab".replace("/", "-"))
        self.admin(realm, f"addprinc -randkey {name}@{realm}")
        self.admin(realm, f"ktadd -k {keytab} {name}@{realm}")
        return keytab

    def tickets(self, keytab, name, realm, life="1h", label=""):
        """The environment of somebody who has logged in."""
        cache = os.path.join(self.folder, f"{name}@{realm}{label}.cache".replace("/", "-"))
        env = dict(self.env, KRB5CCNAME=cache, KRB5_CONFIG=self.confs[realm])
        words = ["kinit", "-l", life, "-k", "-t", keytab, f"{name}@{realm}"]
        self.run(*words, env=env)
        return env

    def serve_ticket(self, env, service):
        """Puts a ticket for the service into the cache, where later ones are taken from."""
        self.run("kvno", service, env=env)

    def end(self):
        self.child.terminate()
        self.child.wait(timeout=PATIENCE_S)
        self.log.close()
        self.port.end()


def without(names):
    return {name: value for name, value in os.environ.items() if name not in names}


def prolong(cache, seconds):
    """Makes a cache of tickets believe that they last: what the KDC wrote into them is sealed, and
    stays. Gives when the last of them ends in truth."""
    with open(cache, "rb") as file:
        data = file.read()
    now, at, ends, out = int(time.time()), 0, [], bytearray(data)
    while at + 16 <= len(data):
        begun, since, until, _ = struct.unpack(">IIII", data[at:at + 16])
        if abs(begun - now) < 3600 and begun <= since < until < now + 7200:
            ends.append(until)
            out[at + 8:at + 12] = struct.pack(">I", now + seconds)
            at += 16
        else:
            at += 1
    with open(cache, "wb") as file:
        file.write(out)
    return max(ends)
