"""Files that hold secrets, by their names: never digested, never named, only counted."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import PurePath

from pipeline.masking import secret_name

# A directory of this name holds credentials, whatever its files are called.
DIRECTORIES = frozenset({".ssh", ".aws", ".azure", ".gnupg", ".kube", ".docker", ".gcloud", ".oci", ".boto"})
NAMES = frozenset(
    {".netrc", "_netrc", ".pgpass", "pgpass.conf", ".my.cnf", ".pypirc", ".npmrc", ".htpasswd", ".git-credentials"}
    | {".dockercfg", ".s3cfg", ".boto", ".vault-token", ".databrickscfg", "kaggle.json", "kubeconfig", "token"}
    | {"application_default_credentials.json", "credentials", "rootkey.csv"}
    | {"id_rsa", "id_dsa", "id_ecdsa", "id_ed25519"}
)
ENDINGS = frozenset(
    {".pem", ".key", ".p8", ".p12", ".pfx", ".jks", ".keystore", ".kdbx", ".ppk", ".gpg", ".ovpn", ".keytab"}
)
PATTERN = re.compile(
    r"\.env(?:\..*|rc)?|.+\.env|.*client[_-]?secrets?.*\.json|.*service[_-]?account.*\.json|"
    r".*credentials\.csv|.*access[_-]?keys?\.csv"
)
GOOGLE = (".config", "gcloud")
# Endings of files that hold settings or text: under the name of a secret they hold one; data does not.
SETTINGS = frozenset({"", ".json", ".toml", ".yaml", ".yml", ".ini", ".cfg", ".conf", ".txt", ".py", ".xml", ".enc"})


def holds_secrets(path: str) -> bool:
    """Say whether a file is of a kind that holds secrets: `.env`, `.netrc`, a private key, credentials of a cloud."""
    given = PurePath(path.lower())
    *above, name = given.parts
    return (
        name in NAMES
        or given.suffix in ENDINGS
        or PATTERN.fullmatch(name) is not None
        or not DIRECTORIES.isdisjoint(above)
        or GOOGLE in pairwise(above)
    )


def looks_secret(path: str) -> bool:
    """Say whether a file is of such a kind, or has the name of a secret: `api_token.txt` is one, `token.csv` is data.

    A file that only has the name can be declared as an input.
    """
    given = PurePath(path)
    return holds_secrets(path) or (given.suffix.lower() in SETTINGS and secret_name(given.stem))
