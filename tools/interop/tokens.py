"""Bearer tokens, keys that sign them, and services that take them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from support import FAR, KRR, SENDER, Row

ISSUER, AUDIENCE = "https://issuer.example/", "https://nabar.example"
CONTACT, MAILBOX = "krr:global/kontaktinformasjon.read", "krr:global/digitalpost.read"
BOTH = f"{CONTACT} {MAILBOX}"
DISPATCHER, OTHER_DISPATCHER = "164727000046", "164727096994"
NORWEGIAN = "991825827"
LEEWAY = 30
"""Tolerated difference of clocks in seconds."""
ALWAYS = {"personidentifikator", "reservasjon", "reservasjonstidspunkt", "reservasjon_oppdatert", "status"}
OF_CONTACT = {"varslingsstatus", "kontaktinformasjon", "spraak", "spraak_oppdatert"}
OF_MAILBOX = {"digital_post", "sertifikat"}

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
OTHER = rsa.generate_private_key(65537, 2048)


def jwk(key: Key, id: str | None, **more: str) -> Row:
    """The public part of a key."""
    if isinstance(key, rsa.RSAPrivateKey):
        output = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    else:
        output = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    output.pop("key_ops", None)
    return {**output, "use": "sig", **({"kid": id} if id else {}), **more}


def write_keys(file: Path, *keys: Row) -> None:
    """Atomically, as a rotation of keys should."""
    new = file.with_suffix(".new")
    new.write_text(json.dumps({"keys": list(keys)}))
    new.rename(file)


def claims(**other: Any) -> Row:
    """Valid claims of the sender; those that are None are left out."""
    now = int(time.time())
    good = {"iss": ISSUER, "aud": AUDIENCE, "iat": now, "exp": now + 120, "consumer": {"ID": f"0007:{SENDER[2:]}"}}
    return {name: value for name, value in {**good, **other}.items() if value is not None}


def token(
    key: Any = RSA, algorithm: str = "RS256", kid: str | None = "rsa", header: Row | None = None, **other: Any
) -> str:
    """A token of the sender, with other claims or a header with more members."""
    return jwt.encode(claims(**other), key, algorithm, {**({"kid": kid} if kid else {}), **(header or {})})


def config(keys: Path, algorithms: list[str] | None, more: str = "") -> str:
    chosen = f"algorithms = {json.dumps(algorithms)}" if algorithms else ""
    return f"""
[[register]]
name = "se"
path = "{FAR}"
[[register]]
name = "no"
path = "{KRR}"
[tokens]
issuer = "{ISSUER}"
audience = "{AUDIENCE}"
jwks = "{keys.name}"
{chosen}
{more}"""


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def refused(response: httpx.Response, status: int, word: str) -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"].startswith("application/problem+json")
    assert response.json()["type"] == f"urn:nabar:problem:{word}"
