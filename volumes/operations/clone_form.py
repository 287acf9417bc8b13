"""Where a copy goes, and what it is made of."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from pools.models import Pool
from storagemgr.templatetags.storage import printable, size
from storagemgr.virt.volume_formats import FORMATS, IN_FILES, PLAIN, WITH_LUKS
from volumes import room
from volumes.chain import chain_of
from volumes.forms import NewVolumeForm, PassphraseField
from volumes.models import Volume
from volumes.operations.base import Params
from volumes.partitions import next_partition

KEEP = ("", "Keep it")
# libvirt can read these from the host for a copy, although it makes nothing in them.
READ_ONLY = frozenset({"iscsi", "scsi", "mpath", "zfs"})


def can_receive(pool: Pool, volume: Volume) -> bool:
    """Whether libvirt can copy `volume` into it. From and to Ceph it can inside one pool only."""
    if pool.kind.why_not("volume.clone") or not (pool.is_active and pool.answers):
        return False
    if pool.type == "disk" and not next_partition(pool):
        return False
    return pool.pk == volume.pool_id or "rbd" not in (pool.type, volume.pool.type)


def receiving(volume: Volume, user: Any) -> list[Pool]:
    """The pools of the host in which this person may create, the volume's own first."""
    pools = Pool.objects.select_related("host").filter(host_id=volume.pool.host_id)
    if user is not None:
        pools = pools.visible_to(user, "volume.create").visible_to(user)
    found = [pool for pool in pools if can_receive(pool, volume)]
    return sorted(found, key=lambda pool: (pool.pk != volume.pool_id, pool.name))


def needed_in(pool: Pool, volume: Volume, params: Params) -> int:
    """Bytes that the copy takes at most. What it is built on is copied too."""
    if pool.type not in IN_FILES or params.get("space") == "full":
        return volume.capacity
    chain = [part.allocation for part in chain_of(volume)]
    return chain[0] if len(chain) == 1 else min(sum(chain), max(volume.capacity, chain[0]))


def why_no_room(pool: Pool, volume: Volume, params: Params) -> str:
    needed = 0 if params.get("reflink") else needed_in(pool, volume, params)
    reason = room.why_none(pool, needed)
    return reason and f"The copy needs {size(needed)}, {reason}"


class CloneForm(NewVolumeForm):
    secret_fields = ("passphrase",)
    more = ("reflink", "passphrase")

    into = forms.ChoiceField(label="Pool", required=False)
    format = forms.ChoiceField(label="Format", required=False)
    space = forms.ChoiceField(
        label="Space",
        required=False,
        choices=[("", "Take space for data only"), ("full", "Take all of it")],
        help_text="Empty blocks of the source stay empty, or get space of their own.",
    )
    reflink = forms.BooleanField(
        label="Share blocks with the source",
        required=False,
        help_text="A copy in a moment that takes no space until one of them is written. From raw to raw on btrfs, or "
        "on XFS made for it; only the host can tell, by trying.",
    )
    passphrase = PassphraseField(label="Passphrase", required=False)

    field_order = ("name", "into", "format", "space", *more)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.pools = {str(pool.uuid): pool for pool in receiving(self.target, self.user)}
        self._offer_pools()
        self._offer_formats()
        field = self.fields["passphrase"]
        if self.target.encrypted:
            field.help_text = "Of the copy, which is encrypted like its source. It may be another one."
            field.required = True
            self.more = ("reflink",)
        else:
            field.help_text = (
                "Encrypts the copy with LUKS. The host keeps it as a secret that nobody can read back."
            )
        files = [pool for pool in self.pools.values() if pool.type in IN_FILES]
        if not files:
            for name in ("format", "space", "passphrase"):
                del self.fields[name]
        if not files or not self._is_plain():
            del self.fields["reflink"]

    def _is_plain(self) -> bool:
        return self.target.type == "file" and self.target.format in PLAIN and not self.target.encrypted

    def _offer_pools(self) -> None:
        field = self.fields["into"]
        field.choices = [(uuid, f"{printable(pool)}{self._free(pool)}") for uuid, pool in self.pools.items()]
        if own := str(self.target.pool.uuid) if str(self.target.pool.uuid) in self.pools else "":
            field.initial = own
        else:
            field.required = True
            field.error_messages["required"] = (
                "No pool of this host can take it in which you may create volumes."
            )

    def _free(self, pool: Pool) -> str:
        return f", {size(pool.available)} free" if pool.kind.numbers == "normal" else ""

    def _offer_formats(self) -> None:
        offered = WITH_LUKS if self.target.encrypted else FORMATS.keys() - {"dir", "iso"}
        kept = self.target.format if self.target.type == "file" else "raw"
        self.fields["format"].choices = [
            ("", f"Keep {kept or 'it'}"),
            *[(name, f"{name}: {words}") for name, words in FORMATS.items() if name in offered - {kept}],
        ]

    def new_pool(self) -> Pool | None:
        chosen = self.data.get(self.add_prefix("into")) or str(self.target.pool.uuid)
        return self.pools.get(chosen)

    def format_of_copy(self, cleaned: dict[str, Any]) -> str:
        kept = self.target.format if self.target.type == "file" else "raw"
        return cleaned.get("format") or kept

    def clean_name(self) -> str:
        name, pool = super().clean_name(), self.new_pool()
        if pool and pool.type == "disk" and name != (fixed := next_partition(pool)):
            raise ValidationError(f"The kernel numbers the partitions of {pool}: the next one is {fixed}.")
        if self.target.encrypted and name == self.target.name:
            raise ValidationError("libvirt needs another name for the copy of an encrypted volume.")
        return name

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        pool = self.new_pool()
        if pool is None:
            if "into" not in self.errors:
                self.add_error("into", "Choose a pool.")
            return cleaned
        if reason := why_no_room(pool, self.target, cleaned):
            self.add_error("into" if pool.pk != self.target.pool_id else None, reason)
        self._check_format(pool, cleaned)
        return cleaned

    def _check_format(self, pool: Pool, cleaned: dict[str, Any]) -> None:
        format, in_files = self.format_of_copy(cleaned), pool.type in IN_FILES
        if not in_files and cleaned.get("format") not in (None, "", "raw"):
            self.add_error(
                "format", f"The volumes of {pool} are plain bytes without a format; keep it or take raw."
            )
        if in_files and cleaned.get("space") == "full" and format not in (*PLAIN, "qcow2"):
            self.add_error("space", f"{format} takes space for data only; choose that.")
        if cleaned.get("reflink") and not (in_files and format in PLAIN):
            self.add_error("reflink", "Only a raw file can share its blocks with a raw copy.")
        if cleaned.get("passphrase"):
            if not in_files or format not in WITH_LUKS:
                self.add_error("passphrase", "Only raw and qcow2 files can be encrypted.")
            elif cleaned.get("reflink"):
                self.add_error("reflink", "An encrypted copy shares no blocks with its source.")

    def params(self) -> Params:
        """Without what was left as it is."""
        params = {name: value for name, value in super().params().items() if value not in (None, "", False)}
        if params.get("into") == str(self.target.pool.uuid):
            del params["into"]
        if self.cleaned_data.get("passphrase"):
            params["luks"] = True
        return params | {"source": self.target.name}
