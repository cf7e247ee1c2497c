# SPDX-License-Identifier: Apache-2.0
"""Certificates for tests. They have the extensions that RFC 5280 requires, because Python 3.13 and later check that."""

import os
import subprocess


class Authority:
    """A certificate authority. `certificate` is the path of its own certificate; all files are in `folder`."""

    def __init__(self, folder, name="ca"):
        self.folder, self.name = folder, name
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                     "-subj", f"/CN={name}", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
                     "-keyout", self.path(f"{name}.key"), "-out", self.path(f"{name}.pem"))
        self.certificate = self.path(f"{name}.pem")

    def path(self, name):
        return os.path.join(self.folder, name)

    def openssl(self, *arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)

    def sign(self, name, alternative):
        """Makes a certificate. Returns the paths of the certificate and its key."""
        request, extensions = self.path(f"{name}.csr"), self.path(f"{name}.ext")
        certificate, key = self.path(f"{name}.pem"), self.path(f"{name}.key")
        with open(extensions, "w") as file:
            file.write(f"subjectAltName={alternative}\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n")
        self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={name}",
                     "-keyout", key, "-out", request)
        self.openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.path(f"{self.name}.key"),
                     "-CAcreateserial", "-days", "2", "-extfile", extensions, "-out", certificate)
        return certificate, key
