"""What libvirt's XML of a volume says beyond the columns of its row. It is read when somebody asks for it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from lxml import etree

from storagemgr.jobs.models import JobLine
from volumes.models import Volume

_TIMES = {"btime": "Made", "mtime": "Changed", "ctime": "Changed outside", "atime": "Read"}


@dataclass(frozen=True)
class Details:
    """`facts`: (term, words); `secret`: the attributes of the libvirt secret that opens an encrypted volume."""

    xml: str
    at: datetime
    facts: list[tuple[str, str]] = field(default_factory=list)
    times: list[tuple[str, datetime]] = field(default_factory=list)
    secret: dict[str, str] = field(default_factory=dict)


def details_of(volume: Volume) -> Details | None:
    """Of the last time that the XML was read; None when nobody asked for it yet."""
    lines = JobLine.objects.filter(
        job__operation="volume.read_xml",
        job__host_id=volume.pool.host_id,
        job__pool_uuid=volume.pool.uuid,
        job__volume_name=volume.name,
        text__startswith="<volume",
    )
    line = lines.order_by("-pk").first()
    if line is None:
        return None
    root = etree.fromstring(line.text.replace("\r", "&#13;").encode())
    found = root.find("target/encryption/secret")
    secret = {} if found is None else {key: found.get(key, "") for key in ("type", "uuid") if found.get(key)}
    return Details(line.text, line.at, list(_facts(root)), list(_times(root)), secret)


def _facts(root: etree._Element) -> Iterator[tuple[str, str]]:
    if label := root.findtext("target/permissions/label"):
        yield "Security label", label
    encryption = root.find("target/encryption")
    if encryption is not None:
        yield "Encryption", encryption.get("format", "")
        for secret in encryption.iterfind("secret"):
            yield "Secret", secret.get("uuid") or secret.get("usage", "")
    if features := [child.tag for child in root.iterfind("target/features/*")]:
        yield "Features", ", ".join(features)
    if root.find("target/nocow") is not None:
        yield "Copy on write", "off for this file"


def _times(root: etree._Element) -> Iterator[tuple[str, datetime]]:
    for tag, words in _TIMES.items():
        if text := root.findtext(f"target/timestamps/{tag}"):
            yield words, datetime.fromtimestamp(float(text), UTC)


_PARTIES = ("owner", "group", "others")
_VERBS = ((4, "read"), (2, "write"), (1, "execute"))


def mode_words(mode: str) -> str:
    """ "0640" -> "owner can read and write, group can read"."""
    try:
        digits = [int(digit, 8) for digit in mode[-3:].rjust(3, "0")]
    except ValueError:
        return ""
    parts = []
    for party, digit in zip(_PARTIES, digits, strict=True):
        verbs = [verb for bit, verb in _VERBS if digit & bit]
        if verbs:
            parts.append(
                f"{party} can {' and '.join([', '.join(verbs[:-1]), verbs[-1]] if verbs[1:] else verbs)}"
            )
    return ", ".join(parts) or "nobody but root"
