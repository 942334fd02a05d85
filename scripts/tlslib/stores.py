"""Keys, certificates and stores for a test, by openssl and keytool."""

import os
import subprocess

PASSWORD = "sesame-17"
OTHER_PASSWORD = "sesame-18"
SAN = "subjectAltName=IP:127.0.0.1,DNS:localhost"


def run(*command, **more):
    answer = subprocess.run(command, capture_output=True, **more)
    if answer.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {answer.stderr.decode()}")
    return answer.stdout


def read(path):
    with open(path) as file:
        return file.read()


def write(path, *parts):
    with open(path, "w") as file:
        file.writelines(parts)


class Maker:
    def __init__(self, folder):
        self.folder = folder
        self.serial = 1000

    def at(self, name):
        return os.path.join(self.folder, name)

    def key(self, name, kind):
        words = {
            "rsa": ["RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
            "ec": ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
            "ed25519": ["ED25519"],
        }[kind]
        run("openssl", "genpkey", "-out", self.at(f"{name}.key"), "-algorithm", *words)

    def authority(self, name, subject, kind="ec", more=()):
        self.key(name, kind)
        run("openssl", "req", "-x509", "-new", "-key", self.at(f"{name}.key"), "-days", "30",
            "-subj", subject, "-out", self.at(f"{name}.pem"), *more)

    def signed(self, name, subject, by, kind="ec", days="20", extension=SAN, ca=False):
        """NAME.key, NAME.crt and both in NAME.pem."""
        self.key(name, kind)
        self.serial += 1
        extension = "basicConstraints=critical,CA:TRUE" if ca else extension
        write(self.at("ext"), extension or "", "\n")
        request = run("openssl", "req", "-new", "-key", self.at(f"{name}.key"), "-subj", subject,
                      "-utf8", "-multivalue-rdn")
        run("openssl", "x509", "-req", "-CA", self.at(f"{by}.pem"), "-CAkey",
            self.at(f"{by}.key"), "-set_serial", str(self.serial), "-days", days,
            *(["-extfile", self.at("ext")] if extension else []), "-out", self.at(f"{name}.crt"), input=request)
        self.join(name)

    def join(self, name, *more):
        parts = [read(self.at(f"{name}.{end}")) for end in ("key", "crt")]
        write(self.at(f"{name}.pem"), *parts, *(read(self.at(m)) for m in more))

    def pkcs12(self, name, out, *more):
        run("openssl", "pkcs12", "-export", "-inkey", self.at(f"{name}.key"), "-in",
            self.at(f"{name}.crt"), "-passout", f"pass:{PASSWORD}", "-out", self.at(out), *more)

    def keytool(self, kind, source, out):
        run("keytool", "-importkeystore", "-srckeystore", self.at(source), "-srcstorepass",
            PASSWORD, "-destkeystore", self.at(out), "-deststoretype", kind, "-deststorepass",
            PASSWORD, "-noprompt")

    def trust(self, kind, out, authority="ca"):
        run("keytool", "-importcert", "-noprompt", "-alias", authority, "-file",
            self.at(f"{authority}.pem"), "-storetype", kind, "-keystore", self.at(out),
            "-storepass", PASSWORD)


def make(folder):
    m = Maker(folder)
    m.authority("ca", "/C=DE/O=zkd/CN=authority", "rsa")
    m.authority("foreign-ca", "/CN=foreign")
    m.signed("server", "/C=DE/O=zkd/CN=localhost", "ca", "rsa")
    m.signed("server-ec", "/CN=localhost", "ca")
    m.signed("server-ed25519", "/CN=localhost", "ca", "ed25519")
    m.signed("middle", "/O=zkd/CN=middle", "ca", ca=True)
    m.signed("server-chain", "/CN=localhost", "middle")
    m.join("server-chain", "middle.crt")
    m.signed("client", "/C=DE/O=zkd/CN=client", "ca", "rsa")
    m.signed("second", "/C=DE/O=zkd/CN=second", "ca", extension="keyUsage=digitalSignature")
    m.signed("elsewhere", "/CN=127.0.0.1", "ca", extension="subjectAltName=IP:192.0.2.1")
    m.signed("revoked", "/CN=revoked", "ca")
    m.signed("odd", "/DC=org/UID=u1/OU=a+CN=b, c \\=\\\"<>;#/emailAddress=a@b.example", "ca")
    m.signed("odder", "/C=DE/ST=Bern/L=Z\u00fcrich/street=x/serialNumber=7/CN= #lead, \u6f22 ", "ca")
    m.signed("foreign", "/CN=foreign client", "foreign-ca")
    m.signed("expired", "/CN=expired", "ca", days="-1")
    m.authority("self", "/CN=self")
    m.authority("lone", "/CN=guest", more=["-addext", "basicConstraints=critical,CA:FALSE"])
    write(m.at("guest.pem"), read(m.at("lone.key")), read(m.at("lone.pem")))
    m.signed("minted", "/C=DE/O=zkd/CN=client", "lone")
    m.signed("minted-old", "/C=DE/O=zkd/CN=client", "lone", extension=None)
    m.signed("old", "/CN=old", "ca", extension=None)
    write(m.at("self.pem"), read(m.at("self.key")), read(m.at("self.pem")))
    write(m.at("trust.pem"), read(m.at("ca.pem")))
    write(m.at("trust-two.pem"), read(m.at("foreign-ca.pem")), read(m.at("ca.pem")))
    encrypted = run("openssl", "pkcs8", "-topk8", "-in", m.at("server.key"), "-passout",
                    f"pass:{PASSWORD}").decode()
    write(m.at("server-encrypted.pem"), encrypted, read(m.at("server.crt")))
    m.pkcs12("server", "server-openssl.p12", "-name", "server")
    m.keytool("JKS", "server-openssl.p12", "server.jks")
    run("openssl", "pkcs12", "-export", "-inkey", m.at("server-ec.key"), "-in",
        m.at("server-ec.crt"), "-name", "server", "-passout", f"pass:{PASSWORD}", "-out",
        m.at("server-ec.p12"))
    run("keytool", "-importkeystore", "-srckeystore", m.at("server-ec.p12"), "-srcstorepass",
        PASSWORD, "-destkeystore", m.at("server-other.jks"), "-deststoretype", "JKS",
        "-deststorepass", OTHER_PASSWORD, "-destkeypass", OTHER_PASSWORD, "-noprompt")
    m.keytool("PKCS12", "server.jks", "server-keytool.p12")
    m.pkcs12("client", "client.p12", "-name", "client")
    m.keytool("JKS", "client.p12", "client.jks")
    m.trust("JKS", "trust.jks")
    m.trust("JKS", "trust-guest.jks")
    m.trust("JKS", "trust-guest.jks", "lone")
    m.trust("PKCS12", "trust-keytool.p12")
    run("openssl", "pkcs12", "-export", "-nokeys", "-in", m.at("ca.pem"), "-passout",
        f"pass:{PASSWORD}", "-out", m.at("trust-openssl.p12"))
    revocations(m)


def revocations(m):
    write(m.at("index.txt"), "")
    write(m.at("crlnumber"), "01\n")
    write(m.at("ca.cnf"), "[ca]\ndefault_ca=d\n[d]\n", f"database={m.at('index.txt')}\n",
          f"crlnumber={m.at('crlnumber')}\ndefault_md=sha256\ndefault_crl_days=10\n",
          f"certificate={m.at('ca.pem')}\nprivate_key={m.at('ca.key')}\n")
    ca = ["openssl", "ca", "-config", m.at("ca.cnf")]
    run(*ca, "-revoke", m.at("revoked.crt"))
    run(*ca, "-gencrl", "-out", m.at("crl.pem"))
