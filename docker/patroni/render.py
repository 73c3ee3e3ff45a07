"""Writes /etc/patroni/patroni.yml and pgpass, both 0600, from the environment
(checked by the entrypoint) and the files in /opt/secretpg.

A value goes into a data structure and from there through the YAML writer, so
nothing that comes from outside can change the shape of the configuration.
"""

import json
import os
import sys

import yaml

SECRETS = "/opt/secretpg"
CONFIG = "/etc/patroni/patroni.yml"

# The cluster's settings when there is no dcs.json. Patroni writes them to etcd at
# the first bootstrap and never reads them from here again.
DEFAULT_DCS = {
    "ttl": 20,
    "loop_wait": 5,
    "retry_timeout": 5,
    "maximum_lag_on_failover": 1048576,
    "synchronous_mode": False,
    "postgresql": {
        "use_pg_rewind": True,
        "use_slots": True,
        "parameters": {
            "wal_level": "replica",
            "hot_standby": "on",
            "max_wal_senders": 20,
            "max_replication_slots": 20,
            "archive_mode": "on",
            "archive_command": "/bin/true",
            "wal_log_hints": "on",
            "max_wal_size": "10GB",
        },
    },
}


class Refused(Exception):
    """A sentence for the person who started the container; holds no secret."""


def read(name):
    """The text of a file in SECRETS without its last line break, None when there is none."""
    try:
        with open(os.path.join(SECRETS, name), encoding="utf-8") as f:
            return f.read().rstrip("\n")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as e:
        raise Refused(f"{SECRETS}/{name} cannot be read ({type(e).__name__}): it is a text file owned by user 999")


def password(name):
    text = read(name)
    if not text:
        raise Refused(f"{SECRETS}/{name} is missing or empty: put the password there, mode 0400, owner 999")
    if any(ord(c) < 32 for c in text):
        raise Refused(f"{SECRETS}/{name} holds a control character: a password is one line")
    return text


def dcs():
    text = read("dcs.json")
    if text is None:
        return DEFAULT_DCS
    try:
        value = json.loads(text)
    except ValueError as e:
        raise Refused(f"{SECRETS}/dcs.json is not JSON: {e}")
    if not isinstance(value, dict):
        raise Refused(f"{SECRETS}/dcs.json is not a JSON object")
    return value


def pg_hba(tls):
    """The container's own user needs no password on the socket; plaintext is refused when there is TLS."""
    lines = [
        "local all postgres peer",
        "local all all scram-sha-256",
        "local replication replicator scram-sha-256",
    ]
    if not tls:
        return lines + ["host replication replicator all scram-sha-256", "host all all all scram-sha-256"]
    return lines + [
        "hostnossl all all all reject",
        "hostnossl replication all all reject",
        "hostssl replication replicator all scram-sha-256",
        "hostssl all all all scram-sha-256",
    ]


def parameters(tls):
    """What no cluster may change: local settings go before those in etcd."""
    settings = {
        "unix_socket_directories": "/var/run/postgresql",
        "password_encryption": "scram-sha-256",
        "wal_retrieve_retry_interval": "200ms",
        "logging_collector": "off",
        "log_destination": "stderr",
        "log_line_prefix": "%m [%p] %q%u@%d ",
    }
    if tls:
        settings |= {
            "ssl": "on",
            "ssl_min_protocol_version": "TLSv1.2",
            "ssl_ca_file": f"{SECRETS}/ca.pem",
            "ssl_cert_file": f"{SECRETS}/node.pem",
            "ssl_key_file": f"{SECRETS}/node.key",
        }
    return settings


def etcd(env, tls):
    section = {"hosts": env["ETCD_HOSTS"].split(",")}
    if tls:
        section |= {"protocol": "https", "cacert": f"{SECRETS}/ca.pem"}
    if env.get("ETCD_USERNAME"):
        section |= {"username": env["ETCD_USERNAME"], "password": password("etcd-password")}
    return section


def postgresql(env, tls, passwords):
    def login(user):
        verify = {"sslmode": "verify-full", "sslrootcert": f"{SECRETS}/ca.pem"} if tls else {}
        return {"username": user, "password": passwords[user]} | verify

    return {
        "listen": "0.0.0.0:5432",
        "connect_address": f"{env['PATRONI_NAME']}:5432",
        "use_unix_socket": True,
        "use_unix_socket_repl": True,
        "data_dir": env["PGDATA"],
        "bin_dir": "/usr/lib/postgresql/17/bin",
        "pgpass": env["PGPASSFILE"],
        "authentication": {
            "superuser": login("postgres"),
            "replication": login("replicator"),
            "rewind": login("rewind_user"),
        },
        "create_replica_methods": ["basebackup"],
        "basebackup": [{"checkpoint": "fast"}],
        "use_pg_rewind": True,
        "remove_data_directory_on_rewind_failure": True,
        "remove_data_directory_on_diverged_timelines": True,
        "parameters": parameters(tls),
        "pg_hba": pg_hba(tls),
    }


def configuration(env, tls, passwords):
    files = {"certfile": f"{SECRETS}/node.pem", "keyfile": f"{SECRETS}/node.key"} if tls else {}
    rest = files | {"cafile": f"{SECRETS}/ca.pem", "verify_client": "required"} if tls else {}
    return {
        "scope": env["SCOPE"],
        "namespace": env["NAMESPACE"],
        "name": env["PATRONI_NAME"],
        "log": {"level": "INFO"},
        "restapi": {"listen": "0.0.0.0:8008", "connect_address": f"{env['PATRONI_NAME']}:8008"} | rest,
        "ctl": files | {"cacert": f"{SECRETS}/ca.pem"} if tls else {},
        "etcd3": etcd(env, tls),
        "bootstrap": {
            "dcs": dcs(),
            "initdb": [
                {"encoding": "UTF8"},
                {"locale-provider": "builtin"},
                {"builtin-locale": "C.UTF-8"},
                {"locale": "C.UTF-8"},
                {"auth": "scram-sha-256"},
                "data-checksums",
            ],
        },
        "postgresql": postgresql(env, tls, passwords),
        "watchdog": {"mode": "off"},
        "tags": {"clonefrom": env["CLONEFROM"] == "true"},
    }


def pgpass(passwords):
    def line(user):
        escaped = passwords[user].replace("\\", "\\\\").replace(":", "\\:")
        return f"*:*:*:{user}:{escaped}\n"

    return line("replicator") + line("rewind_user")


def write(path, text):
    """Replaces the file whole, so that a reader never sees half of it."""
    part = path + ".part"
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as f:
        os.fchmod(f.fileno(), 0o600)
        f.write(text)
    os.replace(part, path)


def main():
    env = os.environ
    tls = env["PGFOREMAN_TLS"] == "on"
    passwords = {
        "postgres": password("superuser-password"),
        "replicator": password("replicator-password"),
        "rewind_user": password("rewind-password"),
    }
    write(CONFIG, yaml.safe_dump(configuration(env, tls, passwords), sort_keys=False))
    write(env["PGPASSFILE"], pgpass(passwords))


if __name__ == "__main__":
    try:
        main()
    except Refused as e:
        sys.exit(f"pgforeman: {e}")
