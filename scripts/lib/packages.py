"""What programs of tests need beside a bare Debian 12: its packages, and Python's, fetched once."""

import fcntl
import os
import subprocess
import tempfile

CACHE = os.environ.get("ZKD_CACHE") or os.path.expanduser("~/.cache/zkd-tests")
KAZOO = "2.11.0"


class Missing(Exception):
    """What cannot be had, in a sentence."""


def installed(package):
    query = ["dpkg-query", "-W", "-f", "${db:Status-Abbrev}", package]
    answer = subprocess.run(query, capture_output=True, text=True)
    return answer.returncode == 0 and answer.stdout.startswith("ii")


def install(*packages):
    missing = [package for package in packages if not installed(package)]
    if not missing:
        return
    env = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    apt = ["apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=300"]
    for step in (["update"], ["install", "--no-install-recommends", *missing]):
        answer = subprocess.run(apt + step, env=env, capture_output=True, text=True)
        if answer.returncode != 0:
            said = f"{answer.stdout[-500:]}{answer.stderr}"
            raise Missing(f"apt-get {step[0]} {' '.join(missing)}: {said}")


def python_package(name, version):
    """Its folder. Kept beside the Java jars, so that only the first run fetches it."""
    folder = os.path.join(CACHE, f"{name}-{version}")
    os.makedirs(CACHE, exist_ok=True)
    with open(os.path.join(CACHE, f"lock-{name}"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.isdir(folder):
            install("python3-pip")
            half = tempfile.mkdtemp(dir=CACHE)
            pip = ["/usr/bin/python3", "-m", "pip", "install", "-q", "--target", half]
            answer = subprocess.run([*pip, f"{name}=={version}"], capture_output=True, text=True)
            if answer.returncode != 0:
                raise Missing(f"pip could not install {name} {version}: {answer.stderr}")
            os.rename(half, folder)
    return folder
