"""What the making of a pool will do on its host, step by step, from its draft. In words, as XML, for the job."""

import hashlib
import json
from typing import Any

from pools.forms import all_problems
from pools.models import NewPool, PoolDraft
from storagemgr.jobs import sealed
from storagemgr.virt import pool_xml
from storagemgr.virt.pool_fields import FIELDS
from storagemgr.virt.pool_types import pool_type

STEPS = {
    "secret": "Store the password",
    "define": "Define",
    "build": "Build",
    "start": "Start",
    "autostart": "Start with the host",
}
MADE = "made"
MADE_DIRECTORY = "directory"  # the directory was not there before the build
# These are built by making a directory; the others write on devices.
ON_A_DIRECTORY = ("dir", "fs", "netfs", "vstorage")


def xml_of(new: NewPool, draft: PoolDraft) -> str:
    """With auth_user it names the secret that the password becomes."""
    return pool_xml.build(draft.type, draft.name, str(new.uuid), draft.values)


def problems_of(draft: PoolDraft) -> dict[str, str]:
    """What is wrong or missing, by the names of the fields. A draft keeps what was typed, right or wrong."""
    if draft.type not in FIELDS:
        # An older version of the program may find what a newer one kept.
        return {"type": "Choose a type."}
    kept = dict.fromkeys(sealed.unseal(draft.sealed), "kept")
    return all_problems(draft.type, draft.values | kept)


def fingerprint(draft: PoolDraft) -> str:
    """Another one when anything of the pool itself was changed, so that a test of it is of no use any more."""
    text = json.dumps([draft.type, draft.values, draft.sealed, draft.options.get("build")], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def is_tested(new: NewPool, draft: PoolDraft) -> bool:
    return bool(new.tested) and new.tested.get("of") == fingerprint(draft)


def plan_of(new: NewPool) -> dict[str, Any]:
    """What the job gets: all of it, but for the password. {} of a draft that is not complete."""
    draft = new.draft
    if draft is None or problems_of(draft):
        return {}
    options = draft.options
    persistent = options.get("persistent", True)
    # What a person saw before it is overwritten.
    is_seen = options.get("build") == "overwrite" and is_tested(new, draft)
    seen = {"seen": new.tested.get("devices", {})} if is_seen else {}
    return {
        "type": draft.type,
        "target_path": draft.values.get("target_path", ""),
        "xml": xml_of(new, draft),
        "secret": bool(sealed.unseal(draft.sealed).get("auth_password")),
        "persistent": persistent,
        "build": options.get("build", "no"),
        "start": bool(options.get("start")) or not persistent,
        "autostart": bool(options.get("autostart")) and persistent,
    } | seen


def steps_of(plan: dict[str, Any]) -> list[str]:
    """The steps in their order, by their names in STEPS. A transient pool is built as it starts."""
    wanted = {
        "secret": plan.get("secret"),
        "define": plan.get("persistent"),
        "build": plan.get("persistent") and plan.get("build", "no") != "no",
        "start": plan.get("start"),
        "autostart": plan.get("autostart"),
    }
    return [name for name in STEPS if wanted[name]]


def effects_of(plan: dict[str, Any]) -> list[tuple[str, str]]:
    """What each step does on the host, as (libvirt's word, sentence)."""
    if not plan:
        return []
    kind, path = pool_type(plan["type"]), plan["target_path"]
    build = {
        "yes": f"{path} is made if it is missing." if plan["type"] in ON_A_DIRECTORY else kind.build,
        "keep": f"{kind.build} libvirt refuses if there is data on it.",
        "overwrite": "What is on the device now is destroyed, whatever it is. " + kind.build,
    }.get(plan["build"], "")
    if plan["type"] == "fs" and plan["build"] in ("keep", "overwrite"):
        refusal = "libvirt refuses if there is data on it." if plan["build"] == "keep" else ""
        loss = "What is on the device now is destroyed, whatever it is." if not refusal else ""
        build = f"{loss} The device is formatted. {refusal}".strip()
    words = {
        "secret": ("secret-set-value", "The password becomes a private secret of libvirt there."),
        "define": ("define", "libvirt is told of the pool."),
        "build": ("build", build),
        "start": ("start", kind.start),
        "autostart": ("autostart", "libvirt starts the pool again whenever the host boots."),
    }
    found = [words[name] for name in steps_of(plan)]
    if not plan["persistent"]:
        found[-1:] = [("create", f"{build} {kind.start}".strip())]
        found.append(("", "The pool is transient: it vanishes when it is stopped and when the host boots."))
    return found


def virsh_lines(new: NewPool, plan: dict[str, Any]) -> list[str]:
    """With a file that holds the XML; the value of a secret is asked for by virsh."""
    virsh, name = f"virsh -c {new.host.uri}", new.name or "NAME"
    flag = {"keep": " --no-overwrite", "overwrite": " --overwrite"}.get(plan.get("build", ""), "")
    words = {
        "secret": [
            f"secret-define {name}-secret.xml",
            f"secret-set-value {pool_xml.own_secret(str(new.uuid))} --interactive",
        ],
        "define": [f"pool-define {name}.xml"],
        "build": [f"pool-build {name}{flag}"],
        "start": [f"pool-start {name}"],
        "autostart": [f"pool-autostart {name}"],
    }
    if not plan.get("persistent"):
        words["start"] = [f"pool-create {name}.xml{' --build' if plan.get('build', 'no') != 'no' else ''}"]
    return [f"{virsh} {line}" for step in steps_of(plan) for line in words[step]]
