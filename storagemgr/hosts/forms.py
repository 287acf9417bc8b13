"""How a host is reached, by parts: nobody types a URI, which could run programs or open any socket."""

from typing import Any

from django import forms
from django.conf import settings

from storagemgr.hosts.models import Host
from storagemgr.virt.addresses import host_address, ip_literal, is_near, user_name

Transport = Host.Transport
# What each transport needs of the fields that not all have.
FIELDS = {
    Transport.SSH: ("address", "port", "username", "mode"),
    Transport.TLS: ("address", "port"),
    Transport.TCP: ("address", "port"),
    Transport.LOCAL: ("mode", "socket"),
}
WORDS = {
    Transport.SSH: "Through the SSH server of the host, with a key of this program. The usual choice.",
    Transport.TLS: "libvirt's own port, with certificates on both sides.",
    Transport.TCP: "libvirt's own port without any protection, for a network where nobody else is.",
    Transport.LOCAL: "A libvirt of the machine that this program runs on.",
}
TCP_OFF = (
    "Plain TCP is off: anybody on the way could read and change what is said. ALLOW_TCP=1 in the program's settings"
    " turns it on."
)
NEAR = (
    "This is the machine that the program runs on, or its link. ALLOW_NEAR_ADDRESSES=1 in the program's settings"
    " allows it."
)
PLAIN = {"autocomplete": "off", "spellcheck": "false", "autocapitalize": "off"}


def _line(**attrs: str) -> forms.TextInput:
    return forms.TextInput(attrs=PLAIN | attrs)


class HostForm(forms.Form):
    """`host` is the row to change, None for a new one. What the chosen transport does not need is left out."""

    transport = forms.ChoiceField(
        label="How it is reached",
        choices=Transport.choices,
        widget=forms.RadioSelect,
        initial=Transport.SSH,
        error_messages={"required": "Choose one."},
    )
    name = forms.CharField(
        max_length=128,
        label="Name",
        help_text="What it is called on these pages.",
        error_messages={"required": "Type a name."},
        widget=_line(),
    )
    address = forms.CharField(
        required=False,
        max_length=300,
        label="Address",
        help_text="Host name or IP address, as the machine of the workers knows it.",
        widget=_line(),
    )
    port = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=65535,
        label="Port",
        help_text="Empty for the usual one: 22 for SSH, 16514 for TLS, 16509 for plain TCP.",
        widget=_line(inputmode="numeric"),
    )
    username = forms.CharField(
        required=False,
        max_length=100,
        label="Account",
        help_text="The account on the host that may use libvirt there. Better one made for it than root.",
        widget=_line(),
    )
    mode = forms.ChoiceField(
        required=False,
        choices=Host.Mode.choices,
        label="Which libvirt",
        help_text="The system's has the pools and VMs of the host. An account's own has only that account's.",
    )
    socket = forms.ChoiceField(
        required=False, label="Socket", help_text="Those that LOCAL_SOCKETS in the program's settings names."
    )
    note = forms.CharField(
        required=False,
        max_length=2000,
        label="Note",
        help_text="For your colleagues: where it stands, who looks after it.",
        widget=forms.Textarea(attrs={"rows": 2}),
    )

    def __init__(self, *args: Any, host: Host | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.host = host
        sockets = dict.fromkeys([*settings.LOCAL_SOCKETS, *([host.socket] if host and host.socket else [])])
        self.fields["socket"].choices = [("", "The usual one"), *((path, path) for path in sockets)]
        if host and host.is_embedded:
            for name in ("transport", "address", "port", "username", "mode", "socket"):
                del self.fields[name]

    def clean_name(self) -> str:
        name = self.cleaned_data["name"]
        if not name.isprintable():
            raise forms.ValidationError("Leave out characters that cannot be seen.")
        if self._others().filter(name=name).exists():
            raise forms.ValidationError("Another host has this name.")
        return name

    def clean_transport(self) -> str:
        transport = self.cleaned_data["transport"]
        if transport == Transport.TCP and not settings.ALLOW_TCP:
            raise forms.ValidationError(TCP_OFF)
        return transport

    def clean_address(self) -> str:
        typed = self.cleaned_data["address"]
        if not typed or not self._needs("address"):
            return ""
        try:
            address = host_address(typed)
        except ValueError as error:
            raise forms.ValidationError(str(error)) from error
        literal = ip_literal(address)
        is_here = literal is not None and is_near(literal) or address == "localhost"
        if is_here and not settings.ALLOW_NEAR_ADDRESSES:
            raise forms.ValidationError(NEAR)
        return address

    def clean_username(self) -> str:
        typed = self.cleaned_data["username"]
        if not typed or not self._needs("username"):
            return ""
        try:
            return user_name(typed)
        except ValueError as error:
            raise forms.ValidationError(str(error)) from error

    def _needs(self, field: str) -> bool:
        chosen = self.data.get(self.add_prefix("transport"), "")
        return field in FIELDS.get(chosen, ())

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        transport = values.get("transport")
        if not transport:
            return values
        for name, words in (
            ("address", "Type where the host is."),
            ("username", "Type the account to log in as."),
        ):
            if name in FIELDS[transport] and name in values and not values[name]:
                self.add_error(name, words)
        values["mode"] = values.get("mode") or Host.Mode.SYSTEM
        for name, nothing in (("port", None), ("mode", Host.Mode.SYSTEM), ("socket", "")):
            if name not in FIELDS[transport]:
                values[name] = nothing
                self.errors.pop(name, None)
        if not self.errors and (same := self._same(values)):
            self.add_error(
                "socket" if transport == Transport.LOCAL else "address", f"{same} is reached there already."
            )
        return values

    def _others(self) -> Any:
        return Host.objects.exclude(pk=self.host.pk) if self.host else Host.objects.all()

    def _same(self, values: dict[str, Any]) -> Host | None:
        """Another row for the same libvirt, by the same port of the same address."""
        asked = Host(**{name: values[name] for name in ("transport", "address", "port", "mode", "socket")})
        there = self._others().filter(address=asked.address, mode=asked.mode)
        if asked.transport == Transport.LOCAL:
            return there.filter(transport=Transport.LOCAL, socket=asked.socket).first()
        others = there.exclude(transport=Transport.LOCAL)
        return next((host for host in others if host.port_number == asked.port_number), None)
