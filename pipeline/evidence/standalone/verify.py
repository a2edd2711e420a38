#!/usr/bin/env python3
"""Check an evidence-chain bundle with this one file and nothing but Python 3.9 or newer.

    python3 -I verify.py BUNDLE --key KEYID_OR_FILE

BUNDLE is a bundle's zip, or the directory it was unpacked into. The key is one that its owner named to you by another
way than the bundle: its id (64 hexadecimal digits, the SHA-256 of the public key's DER form), or a PEM file.
Exit code 0: proven, a key you named signed exactly these files. 3: something is wrong, and it is said what. 4:
consistent, but you named no key, so anybody can have made all of it. 2: not usable (no such file, wrong arguments).
Whoever sends a bundle can send any program under this name: take it from the project, and compare its SHA-256.
"""

import argparse, base64, hashlib, json, os, re, struct, sys, unicodedata, zipfile

MANY_FILES, MANY_BYTES, LONG_JSON = 10_000, 2**31, 2**24 // 3 * 4 + 4096
STATEMENT, PROVENANCE = "https://in-toto.io/Statement/v1", "https://slsa.dev/provenance/v1"
REPORT_TYPE, BUNDLE = "urn:evidence-chain:report:v1", "urn:evidence-chain:%sbundle:v1"
BUNDLE_TYPES = {BUNDLE % "": False, BUNDLE % "public-": True}  # whether the seal and what is private are left out
RUN_TYPES = ("urn:evidence-chain:backtest-run:v1", "urn:evidence-chain:sweep:v1")
IN_TOTO, LEDGER_ENTRY = "application/vnd.in-toto+json", "application/vnd.evidence-chain.ledger-entry+json"
SEALS, ENDS = ("run_sealed", "run_failed", "run_adopted"), ("FINISHED", "FAILED")
SIGNED, UNSIGNED, SUMS, LEDGER = "bundle.dsse.json", "bundle.json", "SHA256SUMS", "ledger/"
DER = bytes.fromhex("302a300506032b6570032100")  # what stands before the 32 bytes of an Ed25519 key in DER
NO_KEY = "CONSISTENT, NOT PROVEN: you named no key, so anybody can have made this"
PAGE = "That public-report.html, made for this bundle, shows what the run's files say."
YOURS = "That the key you named belongs to whom you think."
NOT_COVERED = (
    "Whether the numbers are right, the data true, the code what its author says: `evidence replay` is about that.",
    "Whether the sender has other ledgers, or other runs outside of this one.",
    "Whether a key was stolen or had expired: ask its owner.",
)

# Ed25519 (RFC 8032, section 5.1), as slow and as plain as it can be said. A point is X, Y, Z, T.
P, L = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P

def point(data: bytes) -> tuple:
    """Return the point that 32 bytes stand for; raises ValueError for none, and for a second way to write one."""
    number = int.from_bytes(data, "little")
    y, odd = number & (2**255 - 1), number >> 255
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    x = x * pow(2, (P - 1) // 4, P) % P if (x * x - square) % P else x
    if len(data) != 32 or y >= P or (x * x - square) % P or (x == 0 and odd):
        raise ValueError("it is not a point of the curve in its only form")
    x = P - x if x % 2 != odd else x
    return x, y, 1, x * y % P
def add(p: tuple, q: tuple) -> tuple:
    a, b = (p[1] - p[0]) * (q[1] - q[0]), (p[1] + p[0]) * (q[1] + q[0])
    c, d = 2 * p[3] * q[3] * D, 2 * p[2] * q[2]
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P
def times(number: int, p: tuple) -> tuple:
    rest = times(number // 2, add(p, p)) if number else (0, 1, 1, 0)
    return add(rest, p) if number % 2 else rest
def is_signature(key: bytes, message: bytes, signature: bytes) -> bool:
    """Say whether the private half of `key`, one that `read_pem` returned, made `signature` over `message`."""
    s = int.from_bytes(signature[32:], "little")
    if len(signature) != 64 or s >= L:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % L
    left = times(s, point(b"\x58" + 31 * b"\x66"))
    right = add(point(signature[:32]), times(k, point(key)))
    return all((left[i] * right[2] - right[i] * left[2]) % P == 0 for i in (0, 1))

class Wrong(Exception):
    """What is wrong: a file, a sentence."""
def read_pem(data: bytes) -> bytes:
    """Return the 32 bytes of an Ed25519 public key in PEM; raises ValueError."""
    body = re.fullmatch(rb"\s*-----BEGIN PUBLIC KEY-----\s(.*?)-----END PUBLIC KEY-----\s*", data, re.DOTALL)
    der = base64.b64decode(b"".join(body[1].split()), validate=True) if body else b""
    if len(der) != 44 or not der.startswith(DER):
        raise ValueError("it is not an Ed25519 public key in PEM")
    if times(8, point(der[12:]))[0] == 0:
        raise ValueError("it is a key of small order, under which anybody can sign")
    return der[12:]
def parse(data: bytes) -> dict:
    """Read JSON that has one meaning: nothing said twice, no NaN, no endless integer; raises ValueError."""
    def once(pairs: list) -> dict:
        if len(dict(pairs)) != len(pairs):
            raise ValueError("it says something twice")
        return dict(pairs)
    short = lambda text: int(text if len(text) < 26 else "too many digits")  # noqa: E731
    return json.loads(data.decode("utf-8"), object_pairs_hook=once, parse_int=short, parse_constant=int)
def read_signature(signatures: list) -> bytes:
    """Return the one signature of an envelope; raises ValueError."""
    if len(signatures) != 1 or signatures[0].keys() != {"keyid", "sig"}:
        raise ValueError("it does not hold exactly one signature")
    return base64.b64decode(signatures[0]["sig"], validate=True)
def read_envelope(data: bytes) -> tuple:
    """Return payload and signature of a DSSE envelope around a statement; raises ValueError."""
    value = parse(data)
    if value.keys() != {"payload", "payloadType", "signatures"} or value["payloadType"] != IN_TOTO:
        raise ValueError("it is not an envelope around an in-toto statement")
    return base64.b64decode(value["payload"], validate=True), read_signature(value["signatures"])

def tree_root(leaf: bytes, index: int, size: int, path: list) -> bytes:
    """Return the root of a Merkle tree that a path, from the leaf upwards, proves for a leaf (RFC 6962, 2.1.1)."""
    if size == 1:
        return b"" if path else hashlib.sha256(b"\0" + leaf).digest()  # a path that goes on leads nowhere
    half, side = 1 << (size - 1).bit_length() - 1, path.pop()
    right = index >= half
    node = tree_root(leaf, index - half, size - half, path) if right else tree_root(leaf, index, half, path)
    return hashlib.sha256(b"\1" + (side + node if right else node + side)).digest()
def root_of(leaves: list) -> bytes:
    """Return the root of the Merkle tree over all leaves (RFC 6962, 2.1)."""
    half = 1 << (len(leaves) - 1).bit_length() - 1 if leaves[1:] else 0
    data = b"\1" + root_of(leaves[:half]) + root_of(leaves[half:]) if half else b"\0" + leaves[0]
    return hashlib.sha256(data).digest()
def part(name: str, value: object, raw: bytes = b"") -> bytes:
    """Return the hash of a part of a ledger's entry; text stands for a part that is not shown: it is the hash."""
    if isinstance(value, str):
        return bytes.fromhex(value)
    raw = raw or json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode("utf-8")
    return hashlib.sha256(b"evidence-chain/ledger/2/" + name.encode() + b"\0" + raw).digest()
def leaf(shown: dict) -> tuple:
    """Return the digest of a ledger's entry, its public part and its scope, as far as they are shown."""
    if shown.keys() == {"digest"}:  # an entry of format 1
        return part("", shown["digest"]), None, None
    hashes = b"".join(part(name, shown[name]) for name in ("public", "scope", "private"))
    return part("entry", None, hashes), shown["public"], shown["scope"]
def whole_entry(line: bytes) -> tuple:
    """Return the digest, the fields and the signed bytes of a line of a ledger; raises ValueError."""
    form = rb'{"digest":"\w{64}","entry":({"(?:private":(.*),"public":(.*),"scope":(.*)|data_.*)}),"signatures":(.*)}'
    raw, private, public, scope, signatures = re.fullmatch(form, line).groups()
    if private is None:  # of format 1
        return hashlib.sha256(b"{" + line[77:]).digest(), parse(raw), raw
    sealed = part("private", None, b'{"private":%s,"signatures":%s}' % (private, signatures))
    digest = part("entry", None, part("public", None, public) + part("scope", None, scope) + sealed)
    return digest, {**parse(scope), **parse(private), **parse(public)}, raw

class Folder:
    """The files below a directory, none of them a link."""
    def __init__(self, path: str) -> None:
        self.path, self.names = path, set()
        for folder, folders, files in os.walk(path):
            for full in (os.path.join(folder, name) for name in folders + files):
                name = os.path.relpath(full, path).replace(os.sep, "/")
                if os.path.islink(full) or not (os.path.isdir(full) or os.path.isfile(full)):
                    raise Wrong(name, "it is not a regular file")
                self.names |= {name} if os.path.isfile(full) else set()
    def open(self, name: str):
        return open(os.path.join(self.path, *name.split("/")), "rb")
    def read(self, name: str) -> bytes:
        if name not in self.names:
            raise Wrong(name, "it is missing")
        with self.open(name) as file:
            data = file.read(LONG_JSON + 1)
        if len(data) > LONG_JSON:
            raise Wrong(name, f"it is too long to be read: {LONG_JSON} bytes are the most")
        return data
    def digest(self, name: str) -> tuple:
        total = hashlib.sha256()
        with self.open(name) as file:
            while block := file.read(1 << 20):
                total.update(block)
            return total.hexdigest(), file.tell()

class Zip(Folder):
    """The files of a zip that is laid out, byte for byte, as bundles are: nothing hidden, nothing compressed."""
    def __init__(self, path: str) -> None:
        self.archive = zipfile.ZipFile(path)
        members, size, at, central = self.archive.infolist(), os.path.getsize(path), 0, b""
        if not 0 < len(members) <= MANY_FILES or size > MANY_BYTES:
            raise Wrong(path, "it is empty or too large for a bundle")
        self.top, self.names = members[0].filename.split("/")[0], {info.filename.partition("/")[2] for info in members}
        with open(path, "rb") as file:
            for info in members:
                name = info.filename.encode("utf-8")
                fields = (20, 0 if name.isascii() else 2048, 0, 0, 33, info.CRC, *[info.file_size] * 2, len(name), 0)
                head = struct.pack("<4s5H3L2H", b"PK\3\4", *fields) + name
                central += struct.pack("<4s6H3L5H2L", b"PK\1\2", 788, *fields, 0, 0, 0, 0o100644 << 16, at) + name
                file.seek(at)
                if file.read(len(head)) != head or not name.startswith(f"{self.top}/".encode()):
                    raise Wrong(info.filename, "it is not stored as bundles store files")
                at += len(head) + info.file_size
            end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, len(members), len(members), len(central), at, 0)
            file.seek(at)
            if len(self.names) < len(members) or file.read(len(central) + len(end) + 1) != central + end:
                raise Wrong(path, "its list of files is not the one that a bundle has")
    def open(self, name: str):
        return self.archive.open(f"{self.top}/{name}")

class Check:
    """What was found about a bundle: facts, sentences that have to be believed, problems (file, sentence)."""
    def __init__(self, files: Folder, wanted: list) -> None:
        self.files, self.wanted, self.known, self.facts, self.believed = files, wanted, {}, [], []
        self.problems, self.beyond = [], [*NOT_COVERED]
        for check in (self.names, self.keys, self.bundle, self.seal, self.report, self.ledger, self.trials):
            self.name = check.__name__
            try:
                check()
            except Exception as error:  # whatever a stranger wrote there
                unread = self.name, f"it cannot be read as what it should be ({error})"
                self.problems.append(error.args if isinstance(error, Wrong) else unread)
            if self.problems:
                return
    def read(self, name: str) -> bytes:
        self.name = name
        return self.files.read(name)
    def same(self, found: object, wanted: object, text: str) -> None:
        if found != wanted:
            raise Wrong(self.name, text)
    def compare(self, statement: dict, found: dict, what: str) -> None:
        """Compare the files that a statement lists with those that are there; raises Wrong."""
        items = statement["subject"]
        listed = {i["name"]: (i["digest"]["sha256"], i.get("annotations", {}).get("size")) for i in items}
        self.same(len(listed), len(items), "it lists a file twice")
        for name in sorted(listed.keys() | found.keys()):
            (told, size), (digest, length) = listed.get(name, (None, 0)), found.get(name, (None, 0))
            if (told, size) not in ((digest, length), (digest, None)):
                text = "missing" if digest is None else "added" if told is None else "edited"
                self.problems.append((name, f"it was {text}: {what} says something else"))
        if self.problems:
            raise Wrong(*self.problems.pop())
    def signed_by(self, payload: bytes, kind: str, signature: bytes) -> str:
        """Return the words for who signed; raises Wrong when it is nobody known, or nobody of those you named."""
        message = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)
        signer = next((keyid for keyid, key in self.known.items() if is_signature(key, message, signature)), None)
        self.same(signer is None, False, "its signature was not made by any known key over this content")
        self.same(not self.named or signer in self.named, True, f"the key {signer} signed it, which you did not name")
        return f", signed by the key {signer}"
    def opened(self, signed: str, plain: str, what: str) -> tuple:
        """Return a statement's bytes and the words for who signed it; one that nobody signed is no proof for a key."""
        if signed in self.files.names:
            self.same(plain in self.files.names, False, f"{what} is there twice")
            payload, signature = read_envelope(self.read(signed))
            return payload, self.signed_by(payload, IN_TOTO, signature)
        payload = self.read(plain)
        self.same(bool(self.named), False, f"{what} is not signed, and you named a key")
        self.believed.append(f"Nobody signed {what}.")
        return payload, ""
    def names(self) -> None:
        """Refuse names that lead elsewhere, or that some system takes for one another."""
        forms = set()
        for self.name in sorted(self.files.names):
            odd = re.search("[\0\\\\\ud800-\udfff]|^[A-Za-z]:|^/|//|/$|(^|/)[.][.]?(/|$)", self.name) or not self.name
            self.same(odd or unicodedata.normalize("NFC", self.name) != self.name, False, "the name is not plain")
            self.same(self.name.casefold() in forms, False, "some systems take it for another file's name")
            forms.add(self.name.casefold())
    def keys(self) -> None:
        """Read the keys that came along, and those you named."""
        brought = [read_pem(self.read(name)) for name in sorted(self.files.names) if name.startswith("keys/")]
        given = [key for key in self.wanted if isinstance(key, bytes)]
        self.known = {hashlib.sha256(DER + key).hexdigest(): key for key in brought + given}
        self.named = set(self.wanted) - set(given) | {keyid for keyid, key in self.known.items() if key in given}
        for self.name in self.named:
            self.same(self.name in self.known, True, "no key with this id came along: give the key's file")

    def bundle(self) -> None:
        """Check the statement over all files of the bundle."""
        payload, signer = self.opened(SIGNED, UNSIGNED, "the bundle's list of files")
        own, statement = self.name, parse(payload)
        self.public = BUNDLE_TYPES.get(statement["predicateType"])
        self.same((statement["_type"], self.public is None), (STATEMENT, False), "unknown schema")
        self.predicate, self.run_id = statement["predicate"], str(statement["predicate"]["run_id"])
        for n, why, sha in ((i["name"] + "", i["why"] + "", i["sha256"]) for i in self.predicate.get("left_out", ())):
            self.same(re.fullmatch("[0-9a-f]{64}|None", str(sha)) is None, False, "what was left out has no SHA-256")
            self.beyond.append(f"{n} left out: {why}{f' (SHA-256 {sha})' if sha else ''}.")
        found = {name: self.files.digest(name) for name in self.files.names - {SUMS}}
        lines = "".join(f"{found[name][0]}  {name}\n" for name in sorted(found)).encode("utf-8")
        found.pop(own)
        self.compare(statement, found, "the bundle's list")
        self.name = SUMS
        self.same(self.files.digest(SUMS)[0], hashlib.sha256(lines).hexdigest(), "it is not the list of these files")
        self.facts.append(f"All {len(found)} files are the ones that were packed{signer}.")

    def seal(self) -> None:
        """Check the manifest: every file of the run, and who sealed it."""
        start, own = f"{self.run_id}/", ("manifest.json", "manifest.dsse.json")
        inside = [name[len(start) :] for name in self.files.names if name.startswith(start)]
        if self.public:  # its files are what the signed list says, and nothing else is known of them
            left, told = {i["name"]: i["sha256"] for i in self.predicate["left_out"]}, self.predicate["sealed"]
            self.sealed, end = left[own[0]], told["status"]
            self.ended = re.match(r"\d{4}-\d\d-\d\dT", told["finished_on"]).string
            fits = self.predicate["manifest_sha256"] == self.sealed is not None, end in ENDS, left.keys() & inside
            self.same(fits, (True, True, set()), "what it says of the seal contradicts itself")
            return self.believed.append(f"That {len(inside)} files are as the run {self.run_id}, {end}, sealed them.")
        data, signer = self.read(start + own[0]), ""
        self.sealed = hashlib.sha256(data).hexdigest()
        self.same(self.predicate["manifest_sha256"], self.sealed, "the bundle is about another one")
        manifest = parse(data)
        predicate, kind = manifest["predicate"], manifest["predicate"]["buildDefinition"]["buildType"]
        run, metadata = predicate["evidence_run"], predicate["runDetails"]["metadata"]
        types = manifest["_type"], manifest["predicateType"], repr(run["schema_version"])
        self.same((*types, kind in RUN_TYPES), (STATEMENT, PROVENANCE, "1", True), "unknown schema")
        self.same(metadata["invocationId"], self.run_id, "it seals another run")
        self.ended, ends = metadata["finishedOn"], run["status"] in ENDS
        self.same((ends, metadata["startedOn"][:19] <= self.ended[:19]), (True, True), "no run can end as it says")
        files = {n: self.files.digest(start + n) for n in inside if n not in own and not n.startswith("report/")}
        self.compare(manifest, files, "the seal")
        if own[1] in inside:
            payload, signature = read_envelope(self.read(start + own[1]))
            self.same(payload, data, "it signs another manifest than the one that is here")
            signer = self.signed_by(payload, IN_TOTO, signature)
        else:
            self.believed.append("Nobody signed the run when it ended: only who packed the bundle vouches for it.")
        self.facts.append(f"The seal of the run {self.run_id}, {run['status']}, lists its {len(files)} files{signer}.")
        self.believed.append(f"The run ended at {self.ended}, by the clock of the machine that ran it.")

    def report(self) -> None:
        """Check the page people read: its statement says from which seal it was rendered."""
        start = f"{self.run_id}/report/"
        names = [name for name in self.files.names if name.startswith(start)]
        if not names:
            return self.believed.append(PAGE if "public-report.html" in self.files.names else "No report came along.")
        payload, signer = self.opened(start + "statement.dsse.json", start + "statement.json", "the report")
        statement = parse(payload)
        definition = statement["predicate"]["buildDefinition"]
        about = statement["_type"], definition["buildType"], definition["externalParameters"]
        self.same(about, (STATEMENT, REPORT_TYPE, {"run_id": self.run_id}), "it is not about the report of this run")
        source = definition["resolvedDependencies"][0]["digest"]
        self.same(source, {"sha256": self.sealed}, "the report was rendered from another seal")
        views = {f"report/{n[len(start) :]}": self.files.digest(n) for n in names if n != self.name}
        self.compare(statement, views, "the report's statement")
        self.facts.append(f"The report was rendered from this seal{signer}.")

    def ledger(self) -> None:
        """Check the seal's entry in the sender's ledger, and the proof that it is there (RFC 6962)."""
        proof = self.predicate["ledger"]
        if proof is None:
            return self.believed.append("No entry of a ledger came along: nothing says how many other runs there are.")
        line = self.read(LEDGER + "entry.json")
        value, (digest, entry, raw) = parse(line), whole_entry(line)
        self.same(value["digest"], digest.hex(), "its digest is not that of its content")
        later = entry["time"][:10] >= self.ended[:10]  # by days: a clock may have been set back a little
        about = entry["run_id"], entry["subject_sha256"], entry["kind"] in SEALS and later
        self.same(about, (self.run_id, self.sealed, True), "it is not about the seal of this run")
        index, size, path = proof["index"], proof["size"], [bytes.fromhex(node) for node in proof["path"]]
        self.same(tree_root(digest, index, size, path).hex(), proof["root"], "its proof leads to another root")
        last, _, end = proof["checkpoint"].partition(":")
        ends = len(end) == 64 and (end == digest.hex() or index < size - 1)
        fits = -1 < index == entry["seq"] < size, last == str(size - 1), ends
        self.same(fits, (True,) * 3, "it does not fit the checkpoint of the ledger")
        who = self.signed_by(raw, LEDGER_ENTRY, read_signature(value["signatures"])) if value["signatures"] else ""
        late, where = entry["kind"] == "run_adopted", f"entry {index} of a ledger of {size}{who}"
        self.facts.append(f"The run was adopted as {where}." if late else f"The seal is {where}.")
        self.believed += ["When the run was sealed, and what was left out before: the ledger took it up later."] * late
        self.believed.append(f"The ledger and its times are the sender's: this entry says {entry['time']}.")
        self.believed.append(f"Its end, to compare with one that you were given earlier: {proof['checkpoint']}.")

    def trials(self) -> None:
        """Rebuild the ledger's tree from its leaves, all of them, and count the trials that they show."""
        if LEDGER + "leaves.jsonl" not in self.files.names:
            return self.believed.append("How many trials there were: the leaves of the ledger did not come along.")
        leaves = [leaf(parse(line)) for line in self.read(LEDGER + "leaves.jsonl").splitlines()]
        digests, older = [digest for digest, _, _ in leaves], sum(public is None for _, public, _ in leaves)
        proof, built, counted, met = self.predicate["ledger"], (len(leaves), root_of(digests).hex()), {}, set()
        self.same(built, (proof["size"], proof["root"]), "these are not the leaves of the ledger")
        for seq, (_, public, scope) in enumerate(leaves[older:], older):
            place = 2, seq, digests[seq - 1].hex() if seq else "0" * 64
            self.same((public["version"], public["seq"], public["previous"]), place, f"leaf {seq} is out of place")
            run, kind, details = public["run_id"], public["kind"], public["details"]
            start, _, of = str(details.get("origin", "")).partition(":")
            if kind == "trial_counted":
                many, told = details.get("trials", 1), {**scope, "salt": 0} if isinstance(scope, dict) else scope
                key = (run, details.get("batch"), str(told)) if run else seq
                counted[key] = max(many, counted.get(key, 1))
            elif kind in (*SEALS, "run_started", "run_killed") and run and run not in met:
                again = start in ("replay", "sweep-trial", "sweep-best") and of in met
                counted[run] = int(start != "sweep" and not again)
                met.add(run)
        text = f"All {len(leaves)} leaves of the ledger came along: {'at least ' * (older > 0)}{sum(counted.values())}"
        self.facts.append(f"{text} trials.")
        self.believed += [f"How many trials the ledger's {older} oldest entries count: they are digests."] * (older > 0)

def key_from(text: str, bundle: str) -> object:
    if re.fullmatch("[0-9a-fA-F]{64}", text):
        return text.lower()
    if os.path.realpath(text).startswith(os.path.realpath(bundle) + os.sep):
        raise ValueError(f"{text} came with the bundle: only a key that came another way proves something")
    with open(text, "rb") as file:
        return read_pem(file.read())

def main(arguments: list = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", help="the zip, or the directory it was unpacked into")
    parser.add_argument("--key", action="append", default=[], help="its owner's key: an id or a PEM file (repeatable)")
    given = parser.parse_args(arguments)
    try:
        wanted = [key_from(text, given.bundle) for text in given.key]
        check = Check(Folder(given.bundle) if os.path.isdir(given.bundle) else Zip(given.bundle), wanted)
    except (Wrong, zipfile.BadZipFile, NotImplementedError, EOFError, struct.error) as problem:
        print(ascii(f"It is not a bundle. {': '.join(map(str, problem.args))}")[1:-1], "PROBLEM", sep="\n")
        return 3
    except (OSError, ValueError) as error:
        print(f"verify.py: {error}", file=sys.stderr)
        return 2
    good = (0, "PROVEN", "Proven") if wanted else (4, NO_KEY, "Consistent")
    code, word, title = (3, "PROBLEM", "So far") if check.problems else good
    check.believed.append(YOURS if wanted else f"Whose keys these are (ask by another way): {', '.join(check.known)}.")
    lists = [f"{name}: {text}" for name, text in check.problems], check.facts, check.believed, check.beyond
    for name, lines in zip(("Problems", title, "Taken on trust", "Not covered"), lists):
        print(f"{name}:", *(f"  - {ascii(line)[1:-1]}" for line in lines or ["none"]), sep="\n")
    print(word)
    return code

if __name__ == "__main__":
    sys.exit(main())
