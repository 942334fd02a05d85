"""Runs the suites of scripts/suites one after the other and sums up; see scripts/suites/README."""

import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SUITES = os.path.join(ROOT, "scripts", "suites")
CARGO = re.compile(r"^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored", re.M)
PLAIN = re.compile(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$", re.M)
LOGS = os.path.join(ROOT, "target", "suite-logs")


class Suite:
    """One file of scripts/suites and what its head says about it."""

    def __init__(self, file):
        self.path = os.path.join(SUITES, file)
        self.name = file.split("-", 1)[1]
        with open(self.path, errors="replace") as text:
            head = [line.strip("#/ \n") for line in text.readlines()[:25]]
        said = [line.split(":", 1) for line in head if ":" in line]
        self.when = " ".join(v for k, v in said if k == "in").split() or ["full"]
        self.limit = int(next((v for k, v in said if k == "limit"), 900))
        self.needs = " ".join(v for k, v in said if k == "needs").split()
        quick = " ".join(v for k, v in said if k == "quick-env").split()
        self.quick_env = dict(word.split("=", 1) for word in quick)


def all_suites():
    files = sorted(f for f in os.listdir(SUITES) if re.match(r"^\d\d-", f))
    return [Suite(file) for file in files]


def children():
    """Ids of the processes whose parent is this one: those that a suite left behind included."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as stat:
                parent = stat.read().rsplit(")", 1)[1].split()[1]
        except OSError:
            continue
        if int(parent) == os.getpid():
            found.append(int(pid))
    return found


def end_leftovers():
    """Ends by id what a suite left running; a sub-reaper is the parent of all of it."""
    names = []
    for _ in range(50):
        pids = children()
        if not pids:
            break
        for pid in pids:
            try:
                if os.waitpid(pid, os.WNOHANG)[0] == 0:
                    with open(f"/proc/{pid}/cmdline", "rb") as line:
                        words = line.read().replace(b"\0", b" ").decode(errors="replace")
                    os.kill(pid, signal.SIGKILL)
                    names.append(words[:120])
            except (OSError, ChildProcessError):
                pass
        time.sleep(0.05)
    return sorted(set(names))


def run_logged(command, log, env=None, limit=1200):
    """Exit status of the command, or None when it had to be ended after `limit` seconds."""
    child = subprocess.Popen(
        command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        start_new_session=True,
    )
    try:
        return child.wait(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGTERM)
        try:
            child.wait(timeout=5)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        return None


def installed(package):
    query = ["dpkg-query", "-W", "-f", "${db:Status-Abbrev}", package]
    answer = subprocess.run(query, capture_output=True, text=True)
    return answer.returncode == 0 and answer.stdout.startswith("ii")


class Needs:
    """What suites ask for, each provided once; a failure is remembered and fails them all."""

    def __init__(self):
        self.outcome = {}

    def provide(self, need, log):
        if need not in self.outcome:
            self.outcome[need] = self.attempt(need, log)
        return self.outcome[need]

    def attempt(self, need, log):
        kind, rest = re.match(r"(deb(?=:)|\w+)[:-]?(.*)", need).groups()
        if kind == "zkd":
            command = ["cargo", "build", "--profile", "suite", "--bin", "zkd"]
        elif kind == "apache":
            command = [os.path.join(ROOT, "scripts", "apache"), "fetch", rest]
        elif kind == "deb":
            if installed(rest):
                return True
            apt = "apt-get -q -y -o DPkg::Lock::Timeout=300"
            command = ["sh", "-c", f"{apt} update && {apt} install --no-install-recommends {rest}"]
        else:
            print(f"  unknown need '{need}'", flush=True)
            return False
        env = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
        return run_logged(command, log, env=env) == 0


def count(text):
    passed = failed = skipped = 0
    for match in list(CARGO.finditer(text)) + list(PLAIN.finditer(text)):
        p, f, s = (int(group or 0) for group in match.groups())
        passed, failed, skipped = passed + p, failed + f, skipped + s
    return passed, failed, skipped


def run_suite(suite, needs, quick):
    """Runs one suite; gives (passed, failed, skipped, seconds) and prints the log if it failed."""
    begin = time.monotonic()
    path = os.path.join(LOGS, suite.name + ".log")
    work = tempfile.mkdtemp(prefix=f"zkd-{suite.name}-")
    problems = []
    with open(path, "wb") as log:
        missing = [need for need in suite.needs if not needs.provide(need, log)]
        problems += [f"needs {need}, which cannot be had" for need in missing]
        if not missing:
            env = dict(os.environ, ZKD_TMP=work, TMPDIR=work)
            env["ZKD_BIN"] = os.path.join(target_folder(), "suite", "zkd")
            if quick:
                env.update(suite.quick_env, ZKD_QUICK="1")
            status = run_logged([suite.path], log, env=env, limit=suite.limit)
            if status is None:
                problems.append(f"ended after its limit of {suite.limit} s")
            elif status != 0:
                problems.append(f"exit status {status}")
    problems += [f"left running: {name}" for name in end_leftovers()]
    shutil.rmtree(work, ignore_errors=True)
    with open(path, errors="replace") as log:
        text = log.read()
    passed, failed, skipped = count(text)
    if passed + failed == 0:
        problems.append("no test ran")
    if skipped:
        problems.append(f"{skipped} tests were skipped")
    if problems and failed == 0:
        failed = 1
    if failed:
        print(f"--- {suite.name} failed: {'; '.join(problems)}; the end of {path}:")
        print("\n".join(text.splitlines()[-80:]), flush=True)
    return passed, failed, skipped, time.monotonic() - begin


def target_folder():
    return os.environ.get("CARGO_TARGET_DIR") or os.path.join(ROOT, "target")


def chosen(words):
    suites = all_suites()
    if words in ([], ["quick"]):
        when = "quick" if words else "full"
        return [suite for suite in suites if when in suite.when]
    unknown = [word for word in words if word not in [suite.name for suite in suites]]
    if unknown:
        sys.exit(f"scripts/test: no suite named {', '.join(unknown)}; see scripts/test --list")
    return [suite for suite in suites if suite.name in words]


def main():
    if sys.argv[1:] == ["--list"]:
        for suite in all_suites():
            print(f"{suite.name}: {' '.join(suite.when)}, at most {suite.limit} s")
        return
    pr_set_child_subreaper = 36
    ctypes.CDLL(None).prctl(pr_set_child_subreaper, 1, 0, 0, 0)
    os.makedirs(LOGS, exist_ok=True)
    begin, needs, rows = time.monotonic(), Needs(), []
    for suite in chosen(sys.argv[1:]):
        print(f"... {suite.name}", flush=True)
        rows.append((suite.name, *run_suite(suite, needs, sys.argv[1:] == ["quick"])))
    records = subprocess.run(
        [sys.executable, os.path.join(ROOT, "scripts", "records"), "--state"],
        capture_output=True, text=True,
    )
    print(records.stdout, end="")
    for name, passed, failed, skipped, seconds in rows:
        run = passed + failed
        print(f"{name}: run {run}, passed {passed}, skipped {skipped}, {seconds:.0f} s")
    print(f"all: {time.monotonic() - begin:.0f} s")
    passed, failed = sum(row[1] for row in rows), sum(row[2] for row in rows)
    print(f"{passed} passed, {failed} failed")
    sys.exit(0 if rows and failed == 0 else 1)


if __name__ == "__main__":
    main()
