#!/usr/bin/env python3
"""Reads the message log of mailrace as docs/format.md draws it. Needs Python 3.8 and nothing else; never writes.
A program: `mailrace_log.py DIR` prints what `mailrace log cat --data-dir DIR` prints, and exits as it does.
A library: `for entry in mailrace_log.entries(DIR)` gives every Record, and Damage for what cannot be read."""
import base64, collections, datetime, fcntl, ipaddress, json, os, pathlib, re, struct, sys

PEER, HELO, EHLO, REVERSE_PATH, FORWARD_PATH, MAIL_PARAMETERS, LOCAL = range(1, 8)
FIRST_RECORD, FOOTER_LEN, SLOT_LEN, NEVER, LAST_TIME = 4096, 112, 64, 1 << 64, 253402207200999999
BLOCKS = {b"MRSE": struct.Struct("<8sHxxI16sQQQQQIHxxQQ28xI"), b"MRRC": struct.Struct("<4sHHQQQIIQIIQQQ12xI"),
          b"MRFO": struct.Struct("<8sHxxIQQQQQQQQ28xI"), b"MRPO": struct.Struct("<8sQ16sQQ12xI")}
Record = collections.namedtuple("Record", "partition lsn end sequence time durable fields body")  # lists by tag
Damage = collections.namedtuple("Damage", "segment lsn end reason")
TABLE = list(range(256))
for _ in range(8): TABLE = [crc >> 1 ^ (crc & 1) * 0x82F63B78 for crc in TABLE]

def crc32c(octets, crc=0):
    crc ^= 0xFFFFFFFF
    for octet in octets:
        crc = TABLE[(crc ^ octet) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF

def unpack(octets, seed=b"", at=None):
    """The values of the fixed block that `octets` begin with; None unless its position and checksum are right."""
    layout = BLOCKS.get(octets[:4])
    values = layout.unpack_from(octets) if layout and len(octets) >= layout.size else None
    if values and at in (None, values[3]) and crc32c(seed + octets[:layout.size - 4]) == values[-1]:
        if values[1] > 1 and values[0] != b"MRPOSITN":
            raise ValueError(f"it has format version {values[1]}, written by a newer mailrace: use that one")
        return values

class Segment:  # its octets up to a limit; `id` is None when the header is lost in both copies
    def __init__(self, path, base, limit):
        self.octets = path.read_bytes()[:limit - base]
        self.name, self.base, self.end = path.name, base, base + len(self.octets)
        self.header_intact = self.octets[:2048] == self.octets[2048:FIRST_RECORD]
        copies = unpack(self.octets[:128]), unpack(self.octets[2048:2176])
        header = next((values for values in copies if values and values[5] == base), [None] * 14)
        self.log, self.id, self.partition = header[3], header[4], header[10]
    def mark(self, at):
        """The values of the intact record header or footer at a position."""
        return unpack(self.octets[at - self.base:at - self.base + FOOTER_LEN], struct.pack("<Q", self.id), at)
    def no_mark(self, at):
        hits = re.compile(b"MRRC|MRFO").finditer(self.octets, at + 8 - self.base)
        places = (self.base + hit.start() for hit in hits if hit.start() % 8 == 0)
        return Damage(self.name, at, next(filter(self.mark, places), self.end), "no intact record header")
    def record(self, at, sequence, total, envelope_len, envelope_crc, body_len, body_crc, section_crc, section_len,
               received, durable):
        octets, body_at = self.octets[at - self.base:at - self.base + total], 96 + envelope_len
        envelope, body, behind = octets[96:body_at], octets[body_at:body_at + body_len], octets[body_at + body_len:]
        fields, field_at, crc = {}, 0, crc32c(body[:section_len])
        while field_at + 6 <= len(envelope):
            tag, length = struct.unpack_from("<HI", envelope, field_at)
            fields.setdefault(tag, []).append(envelope[field_at + 6:field_at + 6 + length])
            field_at += 6 + length
        checksums = crc32c(envelope), crc, crc32c(body[section_len:], crc)
        end_mark = bytes(-(body_at + body_len) % 8) + b"MRRECEND" + struct.pack("<Q", total)
        if checksums == (envelope_crc, section_crc, body_crc) and field_at == envelope_len and behind == end_mark:
            return Record(self.partition, at, at + total, sequence, received, durable, fields, body)
        return Damage(self.name, at, min(at + total, self.end), "record damaged or cut short")

def is_locked(directory):
    try:
        with open(directory / "lock") as file:
            return fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (BlockingIOError, FileNotFoundError) as error:
        return isinstance(error, BlockingIOError)

def look(directory):
    """Where segments begin, where a living writer stands (else NEVER), how far which log is known to reach."""
    for writer_seen in False, True:  # the position is read before the directory: each segment below it is listed
        octets = (directory / "position").read_bytes() if (directory / "position").exists() else b""
        _, _, log, visible, durable, _ = max(filter(None, map(unpack, (octets, octets[SLOT_LEN:]))), default=[0] * 6)
        bases = sorted(int(name[:20]) for name in os.listdir(directory) if re.fullmatch(r"[0-9]{20}\.segment", name))
        if not bases and not any((directory / name).exists() for name in ("lock", "position")):
            raise FileNotFoundError("there is none: no lock, no position file and no segment")
        if not writer_seen and not is_locked(directory):
            return bases, NEVER, durable, log
    if bases and not log:
        raise TimeoutError("a server is running but its position file is unreadable: try again")
    return [base for base in bases if base < visible], visible, visible, None

def entries(directory):
    """Every Record that may be shown now, oldest first, and Damage for what was durable and cannot be read."""
    directory, at = pathlib.Path(directory), 0
    bases, limit, reached, log = look(directory)
    for base in bases:
        segment, footer, flaws = Segment(directory / f"{base:020}.segment", base, limit), None, []
        if at != base:
            yield Damage("(no segment)", at, base, "a part of the log is missing")
        if not segment.id or not segment.header_intact:
            yield Damage(segment.name, base, segment.end, "segment header damaged")
        at, reached = base + FIRST_RECORD, reached if len({None, log, segment.log}) < 3 else 0
        durable = NEVER if base != bases[-1] or limit != NEVER else reached
        while segment.id and at < segment.end:
            values = segment.mark(at)
            if values and values[0] == b"MRFOOTER":
                footer, durable, lost = values, values[8], Damage(segment.name, at, values[8], "its end is missing")
                break
            entry = segment.record(*values[3:-1]) if values else segment.no_mark(at)
            at = entry.end
            if isinstance(entry, Record):
                durable = max(durable, entry.durable)
                yield entry
            else:
                flaws.append(entry)
        yield from (flaw for flaw in flaws + ([lost] if footer else []) if flaw.lsn < durable)
        at = footer[10] if footer else segment.end
    if at < reached:
        yield Damage("(no segment)", at, reached, "the end of the log is missing")

def as_json(record):
    """The line that `mailrace log cat` prints for a record."""
    fields, peer = record.fields, record.fields[PEER][0]
    when = datetime.datetime(1970, 1, 1) + datetime.timedelta(microseconds=min(record.time, LAST_TIME))
    ip, port = ipaddress.ip_address(peer[:-2]), int.from_bytes(peer[-2:], "little")
    shown = {"offset": record.lsn, "receipt": f"{record.partition}@{record.lsn}",
             "received_at": when.isoformat(timespec="microseconds") + "Z",
             "peer": f"[{ip}]:{port}" if ip.version == 6 else f"{ip}:{port}"}
    for name, values in (("helo", fields.get(EHLO) or fields[HELO]), ("reverse_path", fields[REVERSE_PATH]),
                         ("forward_paths", fields.get(FORWARD_PATH, []))):
        shape = list if name == "forward_paths" else next
        shown[name] = shape(value.decode("utf-8", "replace") for value in values)
        if any(value.decode("utf-8", "replace").encode() != value for value in values):
            shown[name + "_base64"] = shape(base64.b64encode(value).decode() for value in values)
    shown.update(size=len(record.body), message_base64=base64.b64encode(record.body).decode())
    return json.dumps(shown, ensure_ascii=False, separators=(",", ":"))

def main(directory):
    code = 0
    sys.stdout.reconfigure(encoding="utf-8")
    try:
        for entry in entries(directory):
            if isinstance(entry, Record):
                print(as_json(entry))
            else:
                code = 1
                print("mailrace: damage stepped over: %s position %d..%d: %s" % entry, file=sys.stderr)
        sys.stdout.flush()
    except BrokenPipeError:  # nobody reads any more: that is no error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (OSError, ValueError) as error:
        print(f"mailrace: cannot read the log at {directory}: {error}", file=sys.stderr)
        codes = {ValueError: 65, FileNotFoundError: 66, NotADirectoryError: 66, TimeoutError: 75, PermissionError: 77}
        return codes.get(type(error), 74)
    return code

if __name__ == "__main__":
    sys.exit(main(sys.argv[1]) if len(sys.argv) == 2 else __doc__)
