"""Bearer tokens: which are accepted, and their permissions."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

from running import Certificates, Service, plain, running, wait_until
from soap import Schemas, envelope, is_reachable, is_registered, post
from support import DATE, SENDER, Row, persons, registered
from tokens import (
    ALWAYS,
    AUDIENCE,
    BOTH,
    CONTACT,
    DISPATCHER,
    EC,
    LEEWAY,
    MAILBOX,
    NORWEGIAN,
    OF_CONTACT,
    OF_MAILBOX,
    OTHER,
    OTHER_DISPATCHER,
    RSA,
    Key,
    bearer,
    claims,
    config,
    jwk,
    refused,
    token,
    write_keys,
)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Accepts RS256, the default."""
    directory = tmp_path_factory.mktemp("tokens")
    write_keys(directory / "jwks.json", jwk(RSA, "rsa"), jwk(EC, "ec"))
    # At this level no line about a refusal is left out.
    with running(directory, config(directory / "jwks.json", None), "--log", "debug") as service:
        yield service


@pytest.fixture(scope="module")
def http(service: Service) -> Iterator[httpx.Client]:
    with plain(service) as client:
        yield client


def ask_far(http: httpx.Client, token: str, sender: str = SENDER) -> httpx.Response:
    asked = {"sender": sender, "date": DATE}
    return http.post("/se/v1/reachability", params=asked, json={"recipients": registered()[:3]}, headers=bearer(token))


def ask_krr(http: httpx.Client, token: str, version: str = "v2") -> httpx.Response:
    asked = {"personidentifikatorer": [*[person["personidentifikator"] for person in persons()], "23864829477"]}
    return http.post(f"/no/rest/{version}/personer", json=asked, headers=bearer(token))


def segment(value: Row) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def public_pem(key: Key) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def signed_by_public_key(form: bytes, algorithm: str = "HS256") -> str:
    """HMAC with the public key as the secret. PyJWT refuses to, so by hand."""
    head = f"{segment({'alg': algorithm, 'typ': 'JWT', 'kid': 'rsa'})}.{segment(claims())}"
    mac = hmac.new(form, head.encode(), hashlib.sha256).digest()
    return f"{head}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def unsigned(algorithm: str) -> str:
    return f"{segment({'alg': algorithm, 'typ': 'JWT', 'kid': 'rsa'})}.{segment(claims())}."


def tampered() -> str:
    head, _, mac = token(consumer={"ID": "0007:1"}).split(".")
    return f"{head}.{segment(claims())}.{mac}"


def now() -> int:
    return int(time.time())


def repeated() -> str:
    """A token with two issuers. PyJWT cannot write it, so by hand."""
    head = f"{segment({'alg': 'RS256', 'kid': 'rsa'})}."
    text = json.dumps(claims()).replace("{", '{"iss": "https://other.example/", ', 1)
    head += base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()
    signature = RSA.sign(head.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{head}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


REASONS: dict[str, tuple[Callable[[], str], str]] = {
    "expired": (lambda: token(exp=now() - LEEWAY - 5), "it has expired"),
    "without an end": (lambda: token(exp=None), "it lacks exp"),
    "not yet valid": (lambda: token(nbf=now() + LEEWAY + 30), "not valid yet (nbf)"),
    "issued in the future": (lambda: token(iat=now() + LEEWAY + 30), "issued in the future (iat)"),
    "another issuer": (lambda: token(iss="https://issuer.example"), "another issuer"),
    "another audience": (lambda: token(aud="https://nabar.example/"), "another audience"),
    "an unknown kid": (lambda: token(kid="other"), "no key with its kid"),
    "an unknown key": (lambda: token(OTHER), "its signature is not valid"),
    "alg none": (lambda: unsigned("none"), "its algorithm"),
    "no JWT": (lambda: "no-token", "not a signed JWT"),
    "an id token": (lambda: token(header={"typ": "id+jwt"}), "its typ"),
    "a proof of possession": (lambda: token(header={"typ": "dpop+jwt"}), "its typ"),
    "a logout token": (lambda: token(header={"typ": "logout+jwt"}), "its typ"),
    "an extension": (lambda: token(header={"crit": ["x"], "x": 1}), "crit"),
    "bound by DPoP": (lambda: token(cnf={"jkt": "A" * 43}), "cnf"),
    "bound to a certificate": (lambda: token(cnf={"x5t#S256": "A" * 43}), "the connection has none"),
    "two issuers": (repeated, "a name twice"),
    "no organisation": (lambda: token(consumer=None), "names no organisation"),
    "another scheme": (lambda: token(consumer={"ID": f"9908:{NORWEGIAN}"}), "consumer"),
    "another authority": (lambda: token(consumer={"authority": "x", "ID": f"0192:{NORWEGIAN}"}), "consumer"),
}
"""Tokens, and a part of the reason in the log."""


@pytest.mark.parametrize("case", REASONS)
def test_the_log_has_the_reason_and_the_client_has_not(service: Service, http: httpx.Client, case: str) -> None:
    make, reason = REASONS[case]
    text = make()
    response = ask_far(http, text)
    refused(response, 401, "bad-token")
    id = response.headers["x-request-id"]

    def logged() -> list[Row]:
        rows = [row for row in service.logged() if row.get("request_id") == id]
        return [row for row in rows if row["message"] == "not authenticated"]

    (row,) = wait_until(logged)
    assert reason in row["reason"], row
    assert (row["endpoint"], row["address"]) == ("reachability", "127.0.0.1")
    assert text not in service.log.read_text()
    assert response.json()["detail"] == ask_far(http, "x").json()["detail"], "the response does not say which"


BAD: dict[str, Callable[[], str]] = {
    "expired": lambda: token(exp=now() - LEEWAY - 5),
    "without an end": lambda: token(exp=None),
    "not yet valid": lambda: token(nbf=now() + LEEWAY + 30),
    "another issuer": lambda: token(iss="https://issuer.example"),
    "no issuer": lambda: token(iss=None),
    "another audience": lambda: token(aud="https://nabar.example/"),
    "other audiences": lambda: token(aud=["https://other.example", "x"]),
    "no audience": lambda: token(aud=None),
    "an unknown kid": lambda: token(kid="other"),
    "the kid of another key": lambda: token(kid="ec"),
    "an unknown key": lambda: token(OTHER),
    "an unknown key without kid": lambda: token(OTHER, kid=None),
    "alg none": lambda: unsigned("none"),
    "alg None": lambda: unsigned("None"),
    "no signature": lambda: unsigned("RS256"),
    "HS256 by the public key as PEM": lambda: signed_by_public_key(public_pem(RSA)),
    "HS256 by the public key as n": lambda: signed_by_public_key(jwk(RSA, None)["n"].encode()),
    "HS256 by nothing": lambda: signed_by_public_key(b""),
    "ES256, which is not taken": lambda: token(EC, "ES256", "ec"),
    "PS256, which is not taken": lambda: token(algorithm="PS256"),
    "RS512, which is not taken": lambda: token(algorithm="RS512"),
    "other claims than were signed": tampered,
    "a consumer that is no object": lambda: token(consumer=SENDER),
    "scopes that are no text": lambda: token(scope=[CONTACT, MAILBOX]),
    "no JWT": lambda: "no-token",
    "dots": lambda: "..",
    "very long": lambda: "a" * 30_000,
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_token_is_refused(http: httpx.Client, case: str) -> None:
    text = BAD[case]()
    response = ask_far(http, text)
    refused(response, 401, "bad-token")
    assert text not in response.text


def test_a_good_token_is_accepted(http: httpx.Client) -> None:
    for good in (
        token(),
        token(kid=None),
        # Maskinporten sends no typ, HelseID at+jwt.
        token(header={"typ": None}),
        token(header={"typ": "at+jwt"}),
        token(header={"typ": "application/at+jwt"}),
        token(iat=None),
        token(iat=now() + 5),
        token(aud=["https://other.example", AUDIENCE]),
        token(exp=now() - 5),
        token(nbf=now() + 5),
        token(nbf=now() - 5),
    ):
        assert ask_far(http, good).status_code == 200


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_is_spelt_in_any_case(http: httpx.Client, scheme: str) -> None:
    assert http.get("/se/v1/senders", headers={"Authorization": f"{scheme} {token()}"}).status_code == 200


def test_without_a_token_only_health_is_answered(http: httpx.Client) -> None:
    for path in ("/healthz", "/readyz", "/metrics", "/openapi.json"):
        assert http.get(path).status_code == 200
        assert http.get(path, headers=bearer("x")).status_code == 200
    for path in ("/se/v1/register", "/no/v1/senders", "/se/Authority?wsdl", "/nothing", "/se/openapi.json"):
        refused(http.get(path), 401, "missing-credentials")
    for header in ("Basic eDp5", token()):
        refused(http.get("/se/v1/senders", headers={"Authorization": header}), 401, "missing-credentials")
    refused(http.get("/se/v1/senders", params={"access_token": token()}), 401, "missing-credentials")


def test_unauthenticated_clients_get_www_authenticate(http: httpx.Client) -> None:
    """RFC 9110 requires the header field with status 401."""
    assert http.get("/se/v1/senders").headers["www-authenticate"].lower().startswith("bearer")


@pytest.mark.parametrize(
    ("algorithms", "taken"),
    [(["ES256"], {"ec"}), (["RS256"], {"rsa"}), (["PS256"], {"ps"}), (["RS256", "PS256"], {"rsa", "ps"})],
)
def test_only_pinned_algorithms_are_accepted(
    tmp_path: Path, algorithms: list[str], taken: set[str]
) -> None:
    assert accepted(tmp_path, algorithms) == taken


def test_algorithms_of_two_kinds_are_accepted_together(tmp_path: Path) -> None:
    assert accepted(tmp_path, ["RS256", "ES256"]) == {"rsa", "ec"}


def accepted(directory: Path, algorithms: list[str]) -> set[str]:
    """The tokens, of some good ones, that a service accepts."""
    write_keys(directory / "jwks.json", jwk(RSA, "rsa"), jwk(EC, "ec"))
    tokens = {"rsa": token(), "ec": token(EC, "ES256", "ec"), "ps": token(algorithm="PS256")}
    with running(directory, config(directory / "jwks.json", algorithms)) as service, plain(service) as http:
        return {name for name, text in tokens.items() if ask_far(http, text).status_code == 200}


STRANGE: dict[str, Row] = {
    "a kind of key that is new": {"kty": "AKP", "alg": "ML-DSA-44", "kid": "new", "pub": "AAAA", "use": "sig"},
    "a curve that is not known": {"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA", "kid": "new"},
    "another curve for agreement": {"kty": "OKP", "crv": "X25519", "x": "AA", "kid": "new", "use": "enc"},
    "an algorithm that is not known": {**jwk(OTHER, "new"), "alg": "RSA-OAEP-256", "use": "enc"},
    "a use that is not known": {**jwk(OTHER, "new"), "use": "other"},
    "a key that is malformed": {"kty": "RSA", "n": "!", "e": "!", "kid": "new"},
}


@pytest.mark.parametrize("case", STRANGE)
def test_an_unknown_key_does_not_disable_the_others(tmp_path: Path, case: str) -> None:
    write_keys(tmp_path / "jwks.json", STRANGE[case], jwk(RSA, "rsa"))
    with running(tmp_path, config(tmp_path / "jwks.json", None)) as service, plain(service) as http:
        assert ask_far(http, token()).status_code == 200


def test_a_key_for_encryption_signs_nothing(tmp_path: Path) -> None:
    write_keys(tmp_path / "jwks.json", jwk(RSA, "rsa"), jwk(OTHER, "other", use="enc"))
    with running(tmp_path, config(tmp_path / "jwks.json", None)) as service, plain(service) as http:
        refused(ask_far(http, token(OTHER, kid="other")), 401, "bad-token")


@pytest.mark.parametrize(
    "who",
    [
        {"consumer": {"authority": "iso6523-actorid-upis", "ID": f"0007:{SENDER[2:]}"}},
        {"consumer": {"ID": f"0007:{SENDER}"}},
        {"consumer": None, "organisation": SENDER},
        {"consumer": None, "organisation": SENDER[2:]},
        {"consumer": None, "organisation": f"{SENDER[2:8]}-{SENDER[8:]}"},
        {"consumer": {"ID": f"0007:{DISPATCHER[2:]}"}},
        {"consumer": None, "organisation": DISPATCHER},
    ],
    ids=str,
)
def test_the_organisation_of_a_token_acts_as_sender_and_dispatcher(http: httpx.Client, who: Row) -> None:
    assert ask_far(http, token(**who)).status_code == 200


@pytest.mark.parametrize(
    "who",
    [
        {"consumer": {"ID": f"0007:{OTHER_DISPATCHER[2:]}"}},
        {"consumer": {"ID": f"0192:{NORWEGIAN}"}},
    ],
    ids=str,
)
def test_another_organisation_is_refused(http: httpx.Client, who: Row) -> None:
    refused(ask_far(http, token(**who, scope=BOTH)), 403, "not-allowed")


@pytest.mark.parametrize(
    "who",
    [
        {"consumer": None},
        {"consumer": None, "organisation": ""},
        {"consumer": {"ID": ""}},
        {"consumer": {"ID": SENDER[2:]}},
        {"consumer": {"ID": f"0192:{SENDER[2:]}"}},
        {"consumer": {"ID": f"0007:{OTHER_DISPATCHER[2:]}"}, "organisation": SENDER},
        {"consumer": None, "sub": SENDER, "client_id": SENDER},
    ],
    ids=str,
)
def test_a_token_that_names_no_organisation_gets_nothing(http: httpx.Client, who: Row) -> None:
    """Nothing is answered to a caller whom the audit log could not name."""
    text = token(**who, scope=BOTH)
    refused(ask_far(http, text), 401, "bad-token")
    refused(ask_krr(http, text), 401, "bad-token")
    refused(http.get("/se/v1/senders", headers=bearer(text)), 401, "bad-token")


def test_two_authorization_headers_are_refused(http: httpx.Client) -> None:
    both = [("Authorization", f"Bearer {token()}"), ("Authorization", f"Bearer {token(kid='other')}")]
    for headers in (both, both[::-1]):
        refused(http.get("/se/v1/senders", headers=headers), 401, "bad-token")


def test_soap_accepts_tokens(http: httpx.Client, tmp_path: Path) -> None:
    http = httpx.Client(base_url=http.base_url, trust_env=False, headers=bearer(token()))
    schemas = Schemas.of_wsdl(http.get("/se/Recipient/v3?wsdl").content, tmp_path)
    asked = envelope(is_reachable(SENDER, registered()[:2]))
    assert len(schemas.answer(post(http, "/se/Recipient/v3", asked))) == 2
    http.headers.update(bearer(token(consumer={"ID": f"0007:{OTHER_DISPATCHER[2:]}"})))
    assert schemas.fault(post(http, "/se/Recipient/v3", asked)).code == 5002
    assert schemas.answer(post(http, "/se/Recipient/v3", envelope(is_registered(registered()[:1])))) is not None
    http.headers.update(bearer(token(consumer={"ID": f"0192:{NORWEGIAN}"})))
    assert schemas.fault(post(http, "/se/Recipient/v3", envelope(is_registered(registered()[:1])))).code == 5002
    http.close()


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize(
    ("scope", "fields"),
    [
        (CONTACT, ALWAYS | OF_CONTACT),
        (MAILBOX, ALWAYS | OF_MAILBOX),
        (BOTH, ALWAYS | OF_CONTACT | OF_MAILBOX),
        (f"openid  {MAILBOX} {CONTACT} other", ALWAYS | OF_CONTACT | OF_MAILBOX),
    ],
)
def test_scopes_give_access_to_their_fields(http: httpx.Client, version: str, scope: str, fields: set[str]) -> None:
    response = ask_krr(http, token(scope=scope, consumer={"ID": f"0192:{NORWEGIAN}"}), version)
    assert response.status_code == 200, response.text
    answer = response.json()["personer"]
    assert {name for person in answer for name in person} == fields
    everything = ask_krr(http, token(scope=BOTH), version).json()["personer"]
    assert answer == [{name: person[name] for name in person if name in fields} for person in everything]


@pytest.mark.parametrize(
    "scope", [None, "", "openid", CONTACT.upper(), f"{CONTACT},{MAILBOX}", CONTACT[:-1], "krr:global"]
)
def test_without_a_scope_no_person_is_read(http: httpx.Client, scope: str | None) -> None:
    refused(ask_krr(http, token(scope=scope)), 403, "not-allowed")


@pytest.mark.parametrize("scope", [None, CONTACT, MAILBOX, BOTH])
def test_reachability_of_krr_needs_both_scopes(http: httpx.Client, scope: str | None) -> None:
    ids = [person["personidentifikator"] for person in persons()[:3]]
    headers = bearer(token(scope=scope))
    calls = [
        http.post("/no/v1/reachability", json={"recipients": ids}, headers=headers),
        http.post("/no/v1/reachability", content="\n".join(ids), headers={**headers, "Content-Type": "text/csv"}),
        http.post("/no/v1/check", content="id\n" + "\n".join(ids), headers={**headers, "Content-Type": "text/csv"}),
    ]
    for response in calls:
        if scope == BOTH:
            assert response.status_code == 200
        else:
            refused(response, 403, "not-allowed")


def test_keys_are_rotated_while_the_service_runs(tmp_path: Path) -> None:
    keys = tmp_path / "jwks.json"
    write_keys(keys, jwk(RSA, "rsa"))
    with running(tmp_path, config(keys, None)) as service, plain(service) as http:
        new = token(OTHER, kid="new")
        assert (ask_far(http, token()).status_code, ask_far(http, new).status_code) == (200, 401)
        write_keys(keys, jwk(RSA, "rsa"), jwk(OTHER, "new"))
        wait_until(lambda: ask_far(http, new).status_code == 200)
        assert ask_far(http, token()).status_code == 200
        write_keys(keys, jwk(OTHER, "new"))
        service.hang_up()
        wait_until(lambda: ask_far(http, token()).status_code == 401, 1.5)
        assert ask_far(http, new).status_code == 200


@pytest.mark.parametrize("text", [b"", b"{", b'{"keys": []}', None])
def test_broken_keys_leave_the_old_ones(tmp_path: Path, text: bytes | None) -> None:
    keys = tmp_path / "jwks.json"
    write_keys(keys, jwk(RSA, "rsa"))
    with running(tmp_path, config(keys, None)) as service, plain(service) as http:
        keys.unlink() if text is None else keys.write_bytes(text)
        # A file that is written in place may be read when it is empty, and again.
        errors = wait_until(lambda: [row for row in service.logged() if row["level"] == "ERROR"])
        assert all("jwks.json" in row["error"] for row in errors)
        assert ask_far(http, token()).status_code == 200
        write_keys(keys, jwk(OTHER, "new"))
        wait_until(lambda: ask_far(http, token(OTHER, kid="new")).status_code == 200)


def test_tokens_and_certificates_together(tmp_path: Path) -> None:
    """A token identifies the client; without token its certificate does, without scopes."""
    certificates = Certificates(tmp_path / "certificates", SENDER, OTHER_DISPATCHER)
    write_keys(tmp_path / "jwks.json", jwk(RSA, "rsa"))
    tls = """
[tls]
certificate = "certificates/server.pem"
key = "certificates/server.key"
client_ca = "certificates/ca.pem"
client_optional = true"""
    with running(tmp_path, config(tmp_path / "jwks.json", None, tls)) as service:
        with certificates.client(service) as http:
            assert ask_far(http, token()).status_code == 200
            refused(ask_far(http, "x"), 401, "bad-token")
            assert ask_krr(http, token(scope=BOTH)).status_code == 200
        with certificates.client(service, SENDER) as http:
            refused(ask_far(http, "x"), 401, "bad-token")
            refused(ask_far(http, token(consumer={"ID": f"0007:{OTHER_DISPATCHER[2:]}"})), 403, "not-allowed")
            ids = {"personidentifikatorer": [persons()[0]["personidentifikator"]]}
            refused(http.post("/no/rest/v2/personer", json=ids), 403, "not-allowed")
            assert http.get("/se/v1/senders").status_code == 200
        with certificates.client(service, OTHER_DISPATCHER) as http:
            assert ask_far(http, token()).status_code == 200
            bound = {"x5t#S256": thumbprint(certificates, OTHER_DISPATCHER)}
            assert ask_far(http, token(cnf=bound)).status_code == 200
            other = {"x5t#S256": thumbprint(certificates, SENDER)}
            refused(ask_far(http, token(cnf=other)), 401, "bad-token")
        with certificates.client(service) as http:
            refused(ask_far(http, token(cnf=bound)), 401, "bad-token")


def thumbprint(certificates: Certificates, name: str) -> str:
    """As in `x5t#S256` (RFC 8705)."""
    certificate = x509.load_pem_x509_certificate(certificates.file(f"{name}.pem").read_bytes())
    return base64.urlsafe_b64encode(certificate.fingerprint(hashes.SHA256())).rstrip(b"=").decode()
