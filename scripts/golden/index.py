"""What the golden files together must show. A row that no file shows is a failure.

Not shown here, since a standalone server never answers so: -112, -118 and -120 (the connection ends
or sessions are local), -13, -14 and -119 (an ensemble), client-side codes; and -127, which depends
on load.
"""

from .jute import ERRORS

REPLIES = {
    "create": [0, -6, -8, -101, -102, -108, -110, -114, -124, -125],
    "create2": [0, -6, -8, -101, -102, -108, -110, -114, -125],
    "createContainer": [0, -6, -8, -101, -102, -108, -110, -114, -125],
    "createTTL": [0, -6, -8, -101, -102, -108, -110, -114, -125],
    "delete": [0, -8, -101, -102, -103, -111],
    "setData": [0, -8, -101, -102, -103, -125],
    "setACL": [0, -8, -101, -102, -103, -114],
    "deleteContainer": [0, -8, -101, -103, -111],
    "reconfig": [-6, -123],
    "exists": [0, -5, -8, -101, -102],
    "getData": [0, -5, -101, -102, -124],
    "getACL": [0, -5, -101, -102],
    "getChildren": [0, -5, -101, -102],
    "getChildren2": [0, -5, -101, -102],
    "getAllChildrenNumber": [0, -5, -101, -102],
    "getEphemerals": [0, -5],
    "sync": [0, -5],
    "ping": [0, -124],
    "whoAmI": [0, -124],
    "check": [-6],
    "notification": [-6],
    "error": [-6],
    "16000": [-6],
    "multi": [0, -5, -124],
    "multiRead": [0, -5],
    "checkWatches": [0, -5, -121],
    "removeWatches": [0, -5, -121],
    "addWatch": [0, -5],
    "setWatches": [0, -5],
    "setWatches2": [0, -5],
    "auth": [0, -115],
    "sasl": [0, -115, -124],
    "closeSession": [0],
}
MULTI_ERRORS = [0, -2, -8, -101, -102, -103, -108, -110, -111, -114, -125]
MULTI_GOOD = ["create", "create2", "delete", "setData", "check"]
READ_ERRORS = [-101, -102]
EVENTS = [1, 2, 3, 4]
TXNS = [
    "createSession digest", "closeSession digest", "closeSession plain", "create digest",
    "create2 digest", "createContainer digest", "createTTL digest", "delete digest",
    "deleteContainer digest", "setData digest", "setACL digest", "error plain", "multi digest",
    "create plain", "multi/create", "multi/create2", "multi/createContainer", "multi/createTTL",
    "multi/delete", "multi/setData", "multi/check", "multi/error",
]
TRAILERS = [
    "seal-nodes", "digest", "digest-none", "seal-digest", "lastProcessedZxid",
    "seal-lastProcessedZxid", "left-0",
]
CONNECTS = [
    "new, read-only byte 0", "new, read-only byte 1", "new, no read-only byte",
    "new, protocol version 7", "new, timeout 0", "new, negative timeout", "new, timeout too long",
    "new, timeout kept", "new, null password", "new, empty password", "new, bytes after the record",
    "zxid too new", "short record", "negative length", "length over jute.maxbuffer",
    "again, right password", "again, wrong password", "again, no read-only byte",
    "again, session ended", "again, session expired", "again, session unknown",
    "again, unknown, no read-only byte",
]


def required():
    rows = [f"reply {op} {err}" for op, errs in REPLIES.items() for err in errs]
    rows += [f"result multi error {err}" for err in MULTI_ERRORS]
    rows += [f"result multi {op} 0" for op in MULTI_GOOD]
    rows += [f"result multiRead error {err}" for err in READ_ERRORS]
    rows += ["result multiRead getData 0", "result multiRead getChildren 0"]
    rows += [f"event {kind}" for kind in EVENTS]
    rows += [f"txn {txn}" for txn in TXNS]
    rows += [f"trailer {name}" for name in TRAILERS]
    rows += [f"connect {variant}" for variant in CONNECTS]
    return rows


def rows_of(covered):
    """INDEX lines out of {file: covered rows}: required rows first, then what else is shown."""
    lines, missing = [], []
    wanted = required()
    seen = sorted(set().union(*covered.values()) - set(wanted))
    for row in wanted + seen:
        files = sorted(file for file, shown in covered.items() if row in shown)
        if not files:
            missing.append(row)
        lines.append(f"{named(row)} | {' '.join(files)}")
    return lines, missing


def named(row):
    words = row.split(" ")
    if words[0] in ("reply", "result") and words[-1].lstrip("-").isdigit():
        words.append(ERRORS.get(int(words[-1]), "?"))
    return " ".join(words)
