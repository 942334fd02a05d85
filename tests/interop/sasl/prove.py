"""kazoo with DIGEST-MD5 (pure-sasl): who it is, what it may, and what a wrong password costs."""

import logging
import sys
import time

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException
from kazoo.protocol.states import KazooState
from kazoo.security import ACL, Id

logging.disable(logging.CRITICAL)
ADDRESS = sys.argv[1]
ALL = 31


def client(user=None, password=None):
    options = {"mechanism": "DIGEST-MD5", "username": user, "password": password}
    return KazooClient(hosts=ADDRESS, timeout=10, sasl_options=options if user else None)


def tried(title, action):
    try:
        print(f"{title}: {action()!r}")
    except KazooException as error:
        print(f"{title}: {type(error).__name__}")


def mine(user):
    return [ACL(ALL, Id("sasl", user))]


def main():
    bob, nobody = client("bob", "bob's \"secret\""), client()
    bob.start(timeout=20)
    nobody.start(timeout=20)
    tried("create", lambda: bob.create("/kazoo", b"x", acl=mine("bob")))
    tried("own", lambda: bob.get("/kazoo")[0])
    tried("acl", lambda: bob.get_acls("/kazoo")[0])
    tried("of nobody", lambda: nobody.get("/kazoo")[0])
    tried("malformed", lambda: bob.create("/bad", b"", acl=mine("a@b@c")))
    adam = client("adam", "adamsecret")
    adam.start(timeout=20)
    tried("of a super user", lambda: adam.get("/kazoo")[0])
    for one in (bob, adam, nobody):
        one.stop()
        one.close()
    for user, password in (("bob", "guess"), ("eve", "guess")):
        wrong = client(user, password)
        states = []
        wrong.add_listener(states.append)
        wrong.start_async()
        end = time.monotonic() + 20
        while KazooState.LOST not in states and time.monotonic() < end:
            time.sleep(0.02)
        print(f"{user} with a guess: {states[-1] if states else None}")
        wrong.stop()
        wrong.close()
    again = client("müller", "pässwörd")
    tried("a name beyond ASCII", lambda: again.start(timeout=20))
    again.stop()
    again.close()


main()
