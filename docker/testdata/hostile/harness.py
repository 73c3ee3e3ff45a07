"""Renders configurations from hostile values inside the image and parses them
back. Reads {"values": [...]} and writes {"shell": [...], "faults": [...]}: the
values that need_name took, and what came back otherwise than it was put in.
"""

import json
import os
import runpy
import subprocess
import sys

import yaml
from patroni.postgresql.config import ConfigWriter

RENDER = "/usr/local/lib/pgforeman/render.py"
SECRETS = "/tmp/secrets"
render = runpy.run_path(RENDER, run_name="render")
CHECK = '. /usr/local/lib/pgforeman/entry.sh; need_name V "$V"; printf %s "$V"'
faults = []


def expect(what, value, got, want):
    if got != want:
        faults.append(f"{what} from {value!r}: {got!r}, want {want!r}")


def rendered(value, dcs):
    """What render.py makes with the value in every place that comes from outside."""
    env = {
        "SCOPE": value, "NAMESPACE": value, "PATRONI_NAME": value, "ETCD_HOSTS": value, "ETCD_USERNAME": value,
        "PGDATA": value, "CLONEFROM": "true", "PGFOREMAN_TLS": "on",
    }
    files = {"dcs.json": json.dumps(dcs)}
    for name in ("superuser", "replicator", "rewind", "etcd"):
        files[name + "-password"] = value
    for name, text in files.items():
        with open(os.path.join(SECRETS, name), "w", encoding="utf-8", newline="") as f:
            f.write(text)
    config, passfile = os.path.join(SECRETS, "patroni.yml"), os.path.join(SECRETS, "pgpass")
    render["main"].__globals__.update(SECRETS=SECRETS, CONFIG=config)
    saved = dict(os.environ)
    try:
        os.environ.update(env, PGPASSFILE=passfile)
        render["main"]()
    except render["Refused"] as e:
        return str(e), None, None
    finally:
        os.environ.clear()
        os.environ.update(saved)
    with open(config, encoding="utf-8", newline="") as f:
        text = f.read()
    with open(passfile, encoding="utf-8", newline="") as f:
        return None, yaml.safe_load(text), f.read()


def shape(value, path=""):
    """Every path in a document but not the values: what nothing hostile may change."""
    if isinstance(value, dict):
        return [p for k in value for p in shape(value[k], f"{path}/{k}")]
    if isinstance(value, list):
        return [p for i, v in enumerate(value) for p in shape(v, f"{path}[{i}]")]
    return [path]


def pgpass_fields(line):
    """A line of .pgpass as libpq reads it."""
    fields, escaped = [""], False
    for c in line:
        if escaped or c not in ":\\":
            fields[-1] += c
            escaped = False
        elif c == "\\":
            escaped = True
        else:
            fields.append("")
    return fields


def try_render(value, plain):
    dcs = {"postgresql": {"parameters": {"work_mem": value}}, "x": {value: value}}
    refused, config, pgpass = rendered(value, dcs)
    secret = value.rstrip("\n")
    if any(ord(c) < 32 for c in secret) or not secret:
        expect("no refusal", value, refused is not None, True)
        # A short one may be a word of the sentence itself.
        expect("a secret in the refusal", value, len(secret) > 4 and secret in refused, False)
        return
    expect("refusal", value, refused, None)
    if refused:
        return
    for path, want in (
        (("scope",), value), (("namespace",), value), (("name",), value), (("postgresql", "data_dir"), value),
        (("postgresql", "connect_address"), value + ":5432"), (("etcd3", "hosts"), value.split(",")),
        (("etcd3", "password"), secret), (("bootstrap", "dcs"), dcs),
        (("postgresql", "authentication", "superuser", "password"), secret),
        (("postgresql", "pg_hba"), plain["postgresql"]["pg_hba"]),
        (("postgresql", "parameters"), plain["postgresql"]["parameters"]),
        (("restapi", "verify_client"), "required"),
    ):
        got = config
        for key in path:
            got = got[key]
        expect("/".join(path), value, got, want)
    for part in (config, plain):
        part["bootstrap"]["dcs"] = part["etcd3"]["hosts"] = None
    expect("shape", value, shape(config), shape(plain))
    lines = pgpass.split("\n")
    expect("pgpass", value, [pgpass_fields(line) for line in lines],
           [["*", "*", "*", user, secret] for user in ("replicator", "rewind_user")] + [[""]])


def try_setting(value):
    """How Patroni writes a setting into postgresql.conf, read as guc-file.l does."""
    path = os.path.join(SECRETS, "x.conf")
    with ConfigWriter(path) as f:
        f.write_param("search_path", value)
    with open(path, encoding="utf-8", newline="") as f:
        head, _, body = f.read().partition("search_path = '")
    expect("comments before the setting", value, [line[:1] for line in head.splitlines()], ["#", "#"])
    got, i = "", 0
    while i < len(body):
        if body[i] == "\\" or body[i:i + 2] == "''":
            got += body[i + 1]
            i += 2
        elif body[i] == "'":
            expect("end of the setting", value, body[i:], "'\n")
            break
        else:
            got += body[i]
            i += 1
    expect("setting", value, got, value)


def taken_by_shell(value):
    run = subprocess.run(["sh", "-c", CHECK], env={"V": value}, capture_output=True, check=False)
    if run.returncode == 0:
        expect("the shell's text", value, run.stdout.decode(), value)
    return run.returncode == 0


def main():
    values = json.load(sys.stdin)["values"]
    os.mkdir(SECRETS)
    _, plain, _ = rendered("plain", {})
    taken = []
    for value in values:
        try_render(value, json.loads(json.dumps(plain)))
        if all(c.isprintable() for c in value):  # what a specification lets through
            try_setting(value)
        if taken_by_shell(value):
            taken.append(value)
    json.dump({"shell": taken, "faults": faults[:20]}, sys.stdout)


main()
