"""An OAuth server with Maskinporten's rules: Authlib's JWT bearer grant, and Maskinporten's checks of assertions."""

from __future__ import annotations

import base64
import json
import os
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

# The stand-in listens on loopback; Authlib checks the scheme of the address.
os.environ.setdefault("AUTHLIB_INSECURE_TRANSPORT", "1")

from authlib.oauth2.rfc6749 import AuthorizationServer, ClientMixin, OAuth2Error, OAuth2Request
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from authlib.oauth2.rfc6750 import BearerTokenGenerator
from authlib.oauth2.rfc7523 import JWTBearerGrant
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from joserfc import jwk, jws

from standin import Reply
from support import Row

GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
FORM = "application/x-www-form-urlencoded"
ALGORITHMS = ("RS256", "RS384", "RS512")
SKEW_SECONDS, ASSERTION_SECONDS_MAX = 10, 120
CLAIMS = {"aud", "iss", "iat", "exp", "jti", "scope", "consumer_org", "resource"}
NEEDED = {"aud", "iss", "iat", "exp", "scope"}
TEXTS = {
    "MP-012": "Authorization grant has already been used",
    "MP-100": "Unknown client",
    "MP-110": "Invalid JWT audience",
    "MP-121": "The key has expired",
    "MP-130": "The assertion has expired, or its clock is wrong",
    "MP-200": "The client may not have the scope",
    "MP-250": "The consumer has no access",
    "MP-251": "The consumer has not delegated the scope",
}


# A chain of certificates does not fit the library's 512 bytes.
jws.default_registry.max_header_length = 1 << 16


class Refusal(OAuth2Error):
    """An error with one of Maskinporten's codes; without one for what has none."""

    def __init__(self, code: str, error: str = "invalid_grant", text: str = "") -> None:
        self.error = error
        described = f"{text or TEXTS[code]} {f'({code})' if code else ''} (correlation id: {secrets.token_hex(8)})"
        super().__init__(description=described)


@dataclass
class OAuthClient(ClientMixin):
    """A client as it is registered at Maskinporten."""

    id: str
    organisation: str
    keys: list[Row] = field(default_factory=list)
    """Public keys with their `kid`."""
    scopes: set[str] = field(default_factory=set)
    customers: dict[str, set[str]] = field(default_factory=dict)
    """What each customer has delegated to this supplier."""
    expired: set[str] = field(default_factory=set)
    """Keys that have expired."""

    def get_client_id(self) -> str:
        return self.id

    def get_allowed_scope(self, scope: str) -> str:
        return " ".join(part for part in scope.split() if part in self.scopes)

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == GRANT


@dataclass(frozen=True)
class Granted:
    scopes: set[str]
    consumer: str
    ends: float
    """Monotonic seconds."""


class TokenRequest(OAuth2Request):
    def __init__(self, headers: dict[str, str], form: Row) -> None:
        super().__init__("POST", "http://127.0.0.1/token", headers=headers)
        self.fields = form
        self.payload = BasicOAuth2Payload(form)

    @property
    def form(self) -> Row:
        return self.fields


class MaskinportenGrant(JWTBearerGrant):
    LEEWAY = SKEW_SECONDS

    def validate_token_request(self) -> None:
        if set(self.request.form) != {"grant_type", "assertion"}:
            raise Refusal("", "invalid_request", "The form has exactly grant_type and assertion")
        super().validate_token_request()
        # The scopes are in the assertion, where OAuth has them in the form.
        self.request.payload.data["scope"] = self.claims["scope"]
        self.request.payload.data["consumer_org"] = self.claims.get("consumer_org", "")

    def process_assertion_claims(self, assertion: str) -> Any:
        self.header, claims = self.extract_assertion(assertion)
        if self.header.get("alg") not in ALGORITHMS:
            raise Refusal("", text="The algorithm is not allowed")
        if ("kid" in self.header) == ("x5c" in self.header):
            raise Refusal("", text="The header needs one of kid and x5c")
        self.claims = super().process_assertion_claims(assertion)
        assert self.claims == claims
        return self.claims

    def resolve_issuer_client(self, issuer: str) -> OAuthClient:
        if (client := self.server.query_client(issuer)) is None:
            raise Refusal("MP-100", "invalid_client")
        return client

    def resolve_client_public_key(self, client: OAuthClient) -> jwk.Key:
        if chain := self.header.get("x5c"):
            return jwk.RSAKey.import_key(self.server.owner.leaf(chain, client.organisation))
        found = [key for key in client.keys if key["kid"] == self.header["kid"]]
        if not found:
            raise Refusal("", text="Unknown key identifier")
        if self.header["kid"] in client.expired:
            raise Refusal("MP-121")
        return jwk.RSAKey.import_key(found[0])

    def get_audiences(self) -> list[str]:
        return [self.server.owner.issuer]

    def verify_claims(self, claims: Any) -> None:
        """Maskinporten's rules, and then those of the RFC. The signature is verified."""
        if not isinstance(claims.get("aud"), str) or claims["aud"] != self.server.owner.issuer:
            raise Refusal("MP-110")
        if extra := set(claims) - CLAIMS:
            raise Refusal("", text=f"Unknown claims {sorted(extra)}")
        if lost := NEEDED - set(claims):
            raise Refusal("", text=f"Missing claims {sorted(lost)}")
        now = time.time()
        if not all(type(claims[name]) is int for name in ("iat", "exp")):
            raise Refusal("", text="Times are whole seconds")
        if abs(claims["iat"] - now) > SKEW_SECONDS or claims["exp"] < now:
            raise Refusal("MP-130")
        if not 0 < claims["exp"] - claims["iat"] <= ASSERTION_SECONDS_MAX:
            raise Refusal("MP-130", text=f"The assertion is valid for more than {ASSERTION_SECONDS_MAX} seconds")
        self.server.owner.use_once(claims.get("jti"))
        client = self.server.query_client(claims["iss"])
        scopes = claims["scope"].split(" ")
        if "" in scopes or not set(scopes) <= client.scopes:
            raise Refusal("MP-200", "invalid_scope")
        if "consumer_org" in claims:
            delegated = client.customers.get(claims["consumer_org"])
            if delegated is None:
                raise Refusal("MP-250")
            if not set(scopes) <= delegated:
                raise Refusal("MP-251")
        super().verify_claims(claims)


class Maskinporten(AuthorizationServer):
    """The server. A test sets how long tokens are valid, and may end them before."""

    def __init__(self, *clients: OAuthClient, roots: list[x509.Certificate] | None = None) -> None:
        super().__init__()
        self.owner = self
        self.clients = {client.id: client for client in clients}
        self.roots = roots or []
        self.issuer = ""
        self.expires_in: int = 120
        self.real_seconds: float | None = None
        """When tokens really end, if not as promised."""
        self.granted_scopes: list[str] | None = None
        """The scopes of tokens, if not those that were asked for."""
        self.fault: Callable[[int], Reply | None] = lambda _: None
        self.requests: list[Row] = []
        """The answers, in order: status, and error."""
        self.tokens: dict[str, Granted] = {}
        self.used: set[str] = set()
        self.complaints: list[str] = []
        self.lock = threading.Lock()
        self.register_grant(MaskinportenGrant)
        make = lambda **_: secrets.token_urlsafe(40)  # noqa: E731
        self.register_token_generator(
            "default", BearerTokenGenerator(make, expires_generator=lambda *_: self.expires_in)
        )

    # What Authlib wants of a server.

    def query_client(self, client_id: str) -> OAuthClient | None:
        return self.clients.get(client_id)

    def save_token(self, token: Row, request: OAuth2Request) -> None:
        seconds = self.expires_in if self.real_seconds is None else self.real_seconds
        consumer = request.payload.data["consumer_org"] or request.client.organisation
        granted = Granted(set(token["scope"].split()), consumer, time.monotonic() + seconds)
        self.tokens[token["access_token"]] = granted

    def send_signal(self, name: str, *args: Any, **kwargs: Any) -> None:
        pass

    def create_oauth2_request(self, request: TokenRequest) -> OAuth2Request:
        return request

    def handle_response(self, status: int, body: Row, headers: Any) -> Reply:
        if self.granted_scopes is not None and "scope" in body:
            body = {**body, "scope": " ".join(self.granted_scopes)}
        return Reply(status, json.dumps(body).encode(), "application/json", {"Cache-Control": "no-store"})

    # What Maskinporten adds.

    def page(self, method: str, headers: dict[str, str], body: bytes) -> Reply:
        """`POST /token`."""
        with self.lock:
            reply = self.fault(len(self.requests) + 1) or self.token(method, headers, body)
            self.requests.append({"status": reply.status, "body": reply.body.decode()})
        return reply

    def token(self, method: str, headers: dict[str, str], body: bytes) -> Reply:
        if method != "POST" or headers.get("content-type", "").partition(";")[0] != FORM:
            self.complaints.append("a token is requested with a form")
            return Reply(415)
        if "authorization" in headers:
            self.complaints.append("the grant needs no authentication of the client")
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, strict_parsing=True)
        if len(dict(pairs)) != len(pairs):
            self.complaints.append("a field of the form is repeated")
        reply = self.create_token_response(TokenRequest(headers, dict(pairs)))
        assert isinstance(reply, Reply)
        return reply

    def use_once(self, id: str | None) -> None:
        if id is None or id in self.used:
            raise Refusal("MP-012")
        self.used.add(id)

    def leaf(self, chain: list[str], organisation: str) -> Row:
        """The key of the first certificate, if the chain leads to a root and belongs to the organisation."""
        try:
            certificates = [x509.load_der_x509_certificate(base64.b64decode(text, validate=True)) for text in chain]
            last = certificates[-1]
            root = next((root for root in self.roots if root.subject == last.issuer), None)
            if root is None:
                raise ValueError("no root")
            for certificate, issuer in zip(certificates, [*certificates[1:], root], strict=True):
                certificate.verify_directly_issued_by(issuer)
                if not certificate.not_valid_before_utc <= datetime.now(UTC) <= certificate.not_valid_after_utc:
                    raise Refusal("MP-121")
        except (ValueError, TypeError) as error:
            raise Refusal("", text=f"The certificates are not a chain: {type(error).__name__}") from error
        numbers = certificates[0].subject.get_attributes_for_oid(x509.NameOID.SERIAL_NUMBER)
        if [number.value for number in numbers] != [organisation]:
            raise Refusal("", "invalid_client", "The certificate belongs to another organisation")
        public = certificates[0].public_key()
        if not isinstance(public, rsa.RSAPublicKey):
            raise Refusal("", text="The key is not an RSA key")
        key = jwk.RSAKey.import_key(public)
        return key.as_dict(private=False)

    def granted(self, token: str) -> Granted | None:
        """What a token allows; nothing after its end."""
        found = self.tokens.get(token)
        return found if found and time.monotonic() < found.ends else None
