"""FaR's contract through zeep: with the WSDL that is served, and with the official one."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import zeep
from lxml import etree

from soap import AUTHORITY, COMMON_V3, Checking, Fault, Schemas, transport
from support import CONTRACTS, FAR, SENDER, UNKNOWN_SENDER, canonical, column, lookup, registered, table

RECIPIENT_BINDING = "{http://minameddelanden.gov.se/Recipient}RecipientBinding-v3"
DECLINING = "164821000306"
"""A sender that several recipients of the fixture decline."""
UNKNOWN = "189001019802"
USER = "198001019801"
SIGNATURE = {"Signature": b"signature", "Certificate": "certificate"}
ACCOUNT = {
    "Id": UNKNOWN,
    "Type": "Create",
    "AgreementText": "text",
    "Timestamp": datetime.date(2026, 6, 1),
    "ServiceSupplier": "operator.example",
}
IDENTITY = {"Id": UNKNOWN, "UserIdentity": USER}
READ_ONLY: dict[str, dict[str, Any]] = {
    "register": {"accountRequest": ACCOUNT, "accountType": "Secure", "signature": [SIGNATURE]},
    "deregister": {"deregisterAccount": ACCOUNT, "signature": [SIGNATURE]},
    "getPendingAccountRequest": {"recipientId": [UNKNOWN], "userIdentity": USER},
    "deletePendingAccountRequest": {"recipientId": UNKNOWN, "userIdentity": USER},
    "getPendingAccountPreferences": IDENTITY,
    "deletePendingAccountPreferences": {"organizationIdentity": IDENTITY},
    "storeAccountPreferences": {
        **IDENTITY,
        "preferences": {"Id": UNKNOWN},
        "AgreementText": "text",
        "SignatureData": [SIGNATURE],
    },
    "changeServiceSupplier": {
        **IDENTITY,
        "ServiceSupplier": "operator.example",
        "AgreementText": "text",
        "SignatureData": [SIGNATURE],
    },
    "getPendingChangeServiceSupplier": IDENTITY,
    "deletePendingChangeServiceSupplier": {"organizationIdentity": IDENTITY},
    "isAuthorizedSigner": {"CompanyId": UNKNOWN, "UserIdentity": USER},
}
"""Every operation that changes the register, or that a replica cannot answer; with valid arguments."""
AUTHORITY_READ_ONLY: dict[str, list[Any]] = {
    "getUserAccessRights": [USER],
    "getUserAccessRightsNoConcent": [USER],
    "testNewSigner": [UNKNOWN, [{"Id": "AB", "Name": "Name"}], USER, "Ownership"],
    "verifyAuthorizedSignatures": [UNKNOWN, [SIGNATURE], b"document", "Ownership"],
}
IN_RECIPIENT = ["served", "official"]


class Service:
    """A service as zeep sees it."""

    def __init__(self, proxy: Any, checking: Checking) -> None:
        self.proxy, self.checking = proxy, checking

    def call(self, operation: str, *arguments: Any, **named: Any) -> Any:
        return self.proxy[operation](*arguments, **named)

    def fault(self, operation: str, *arguments: Any, **named: Any) -> Fault:
        with pytest.raises(zeep.exceptions.Fault):
            self.call(operation, *arguments, **named)
        assert self.checking.last is not None
        return self.checking.schemas.fault_of(self.checking.last)


@pytest.fixture(scope="module", params=IN_RECIPIENT)
def recipient(
    request: pytest.FixtureRequest, far: str, http: httpx.Client, tmp_path_factory: pytest.TempPathFactory
) -> Service:
    if request.param == "served":
        url = f"{far}/Recipient/v3?wsdl"
        checking = Checking(Schemas.of_wsdl(http.get(url).content, tmp_path_factory.mktemp("recipient")))
        return Service(zeep.Client(url, transport=transport(), plugins=[checking]).service, checking)
    wsdl = CONTRACTS / "Recipient.wsdl"
    if not wsdl.exists():
        pytest.skip(f"the official contract is not at {wsdl}")
    checking = Checking(Schemas.official(CONTRACTS))
    client = zeep.Client(str(wsdl), transport=transport(), plugins=[checking])
    return Service(client.create_service(RECIPIENT_BINDING, f"{far}/Recipient/v3"), checking)


@pytest.fixture(scope="module")
def authority(far: str, http: httpx.Client, tmp_path_factory: pytest.TempPathFactory) -> Service:
    url = f"{far}/Authority?wsdl"
    checking = Checking(Schemas.of_wsdl(http.get(url).content, tmp_path_factory.mktemp("authority")))
    return Service(zeep.Client(url, transport=transport(), plugins=[checking]).service, checking)


def moment(text: str | None) -> datetime.datetime | None:
    return datetime.datetime.fromisoformat(text) if text else None


def account(status: Any) -> dict[str, Any]:
    supplier = status.ServiceSupplier
    return {
        "recipient_id": status.RecipientId,
        "type": status.Type,
        "pending": status.Pending,
        "supplier": supplier.Id if supplier else None,
        "last_registration": status.LastRegistration,
    }


def account_by_lookup(row: dict[str, Any]) -> dict[str, Any]:
    known = row["type"] != "Not"
    return {
        "recipient_id": row["recipient_id"],
        "type": row["type"],
        "pending": row["pending"],
        "supplier": row.get("service_supplier") if known else None,
        "last_registration": moment(row.get("last_registration")),
    }


def is_digital(status: Any) -> bool:
    """The rule by which a client of the official service decides who can be reached."""
    supplier = status.AccountStatus.ServiceSupplier
    return bool(
        status.AccountStatus.Type == "Secure"
        and not status.AccountStatus.Pending
        and status.SenderAccepted
        and supplier
        and (supplier.ServiceAdress or "").strip()
    )


def agree(statuses: list[Any], rows: list[dict[str, Any]]) -> None:
    """Every field of `isReachable` agrees with `nabar lookup`."""
    assert [account(status.AccountStatus) for status in statuses] == [account_by_lookup(row) for row in rows]
    assert [is_digital(status) for status in statuses] == [row["outcome"] == "digital" for row in rows]
    for status, row in zip(statuses, rows, strict=True):
        if row["type"] != "Not":
            assert status.SenderAccepted == row["sender_accepted"]
            assert status.LastSenderAcceptChange == moment(row["last_sender_accept_change"])


@pytest.mark.parametrize("sender", [SENDER, DECLINING])
def test_is_reachable_agrees_with_lookup_for_every_recipient(recipient: Service, sender: str) -> None:
    rows = lookup(FAR, registered(), sender)
    assert {row["reason"] for row in rows} >= {
        None,
        "not_registered",
        "sender_declined",
        "pending",
        "anonymous_account",
    }
    agree(recipient.call("isReachable", sender, registered()), rows)


def test_is_reachable_answers_a_mailing_list_in_order_with_duplicates(recipient: Service) -> None:
    ids = canonical(FAR, column("far-list.csv"), SENDER)
    assert 500 < len(set(ids)) < len(ids) <= 1000
    agree(recipient.call("isReachable", SENDER, ids), lookup(FAR, ids, SENDER))


def test_is_reachable_answers_1000_ids_in_their_order(recipient: Service) -> None:
    ids = (registered() * 2)[:1000]
    assert [status.AccountStatus.RecipientId for status in recipient.call("isReachable", SENDER, ids)] == ids


def test_is_reachable_answers_nothing_to_no_ids(recipient: Service) -> None:
    assert not recipient.call("isReachable", SENDER, [])


def test_is_reachable_answers_not_for_an_unknown_recipient(recipient: Service) -> None:
    (status,) = recipient.call("isReachable", SENDER, [UNKNOWN])
    expected = {"recipient_id": UNKNOWN, "type": "Not", "pending": False, "supplier": None, "last_registration": None}
    assert account(status.AccountStatus) == expected
    assert not is_digital(status)


def test_suppliers_are_the_operators_of_the_register(recipient: Service) -> None:
    operators = {row["id"]: row for row in table("far/operators.csv")}
    suppliers = {
        s.ServiceSupplier.Id: s.ServiceSupplier
        for s in recipient.call("isRegistered", registered())
        if s.ServiceSupplier
    }
    assert len(suppliers) >= 4
    for id, supplier in suppliers.items():
        fields = (
            supplier.Name,
            supplier.ServiceAdress,
            supplier.UIAdress,
            supplier.InternalServiceAdress,
            supplier.Logo,
        )
        names = ("name", "service_address", "ui_address", "internal_service_address", "logo")
        assert [field or "" for field in fields] == [operators[id][name] for name in names]


def test_is_registered_agrees_with_lookup_for_every_recipient(recipient: Service) -> None:
    ids = [*registered(), UNKNOWN, registered()[0]]
    statuses = recipient.call("isRegistered", ids)
    assert [account(status) for status in statuses] == [account_by_lookup(row) for row in lookup(FAR, ids, SENDER)]


def test_account_preferences_are_the_senders_that_the_recipient_accepts(recipient: Service) -> None:
    senders = {row["id"]: row for row in table("far/senders.csv")}
    rows = table("far/recipients.csv")
    picked = [*[row for row in rows if row["exceptions"]][:5], rows[0]]
    assert len(picked) == 6
    for row in picked:
        assert row["acceptance"] == "all-except"
        preferences = recipient.call("getAccountPreferences", row["recipient_id"], USER)
        assert preferences.Id == row["recipient_id"]
        accepted = {sender.Id: (sender.Name, sender.Attention or "") for sender in preferences.AcceptedSenders}
        expected = {id: (s["name"], s["attention"]) for id, s in senders.items() if id not in row["exceptions"].split()}
        assert accepted == expected


def fails_with(fault: Fault, code: int) -> None:
    assert (fault.detail, fault.code) == (f"{{{COMMON_V3}}}applicationFault", code)
    assert fault.description
    assert 20 <= len(fault.call or "") <= 50


def test_more_than_1000_ids_are_5005(recipient: Service) -> None:
    ids = (registered() * 3)[:1001]
    fails_with(recipient.fault("isRegistered", ids), 5005)
    # The contract has the limit for isReachable, so zeep enforces it; test_far_wire sends requests without zeep.
    with pytest.raises(zeep.exceptions.ValidationError):
        recipient.call("isReachable", SENDER, ids)


@pytest.mark.parametrize(
    "id", ["", "abc", "6810199809", "19681019-9809", "1968101998090", "218101019809", "196813019809", "19681019980９"]
)
def test_a_malformed_id_is_5001_and_is_not_repeated(recipient: Service, id: str) -> None:
    calls: list[Callable[[], Fault]] = [
        lambda: recipient.fault("isReachable", SENDER, [registered()[0], id]),
        lambda: recipient.fault("isRegistered", [id, registered()[0]]),
        lambda: recipient.fault("getAccountPreferences", id, USER),
    ]
    for call in calls:
        fault = call()
        fails_with(fault, 5001)
        assert not id or id not in f"{fault.description}{fault.faultstring}"


def test_a_sender_that_is_not_registered_is_5002(recipient: Service) -> None:
    fails_with(recipient.fault("isReachable", UNKNOWN_SENDER, registered()[:1]), 5002)
    fails_with(recipient.fault("isReachable", UNKNOWN_SENDER, []), 5002)


def test_each_fault_has_its_own_call_id(recipient: Service) -> None:
    calls = {recipient.fault("isReachable", UNKNOWN_SENDER, []).call for _ in range(5)}
    assert len(calls) == 5


@pytest.mark.parametrize("operation", READ_ONLY)
def test_an_operation_that_a_replica_cannot_do_is_an_application_fault(recipient: Service, operation: str) -> None:
    fault = recipient.fault(operation, **READ_ONLY[operation])
    assert fault.detail == f"{{{COMMON_V3}}}applicationFault"
    assert fault.code and 5000 <= fault.code < 9999, "an error that a retry does not mend"


def test_every_operation_of_the_contract_is_tested(recipient: Service) -> None:
    asked = {"isReachable", "isRegistered", "getAccountPreferences"}
    assert set(recipient.proxy._operations) == asked | set(READ_ONLY)


def test_senders_are_those_of_the_register(authority: Service) -> None:
    output = [{"id": s.Id, "name": s.Name, "attention": s.Attention or ""} for s in authority.call("getSenders")]
    assert output == table("far/senders.csv")


def test_dispatchers_are_those_of_the_register(authority: Service) -> None:
    output = [{"id": d.Id, "name": d.Name, "senders": " ".join(d.Senders)} for d in authority.call("getDispatchers")]
    assert output == table("far/dispatchers.csv")


def test_a_sender_is_accepted_if_it_is_registered(authority: Service) -> None:
    assert authority.call("isSenderAccepted", SENDER) is True
    assert authority.call("isSenderAccepted", UNKNOWN_SENDER) is False


@pytest.mark.parametrize("operation", AUTHORITY_READ_ONLY)
def test_an_authority_operation_that_a_replica_cannot_do_is_its_own_fault(authority: Service, operation: str) -> None:
    fault = authority.fault(operation, *AUTHORITY_READ_ONLY[operation])
    assert fault.detail == f"{{{AUTHORITY}}}{operation}Fault"
    assert fault.code and 5000 <= fault.code < 9999


def test_every_operation_of_authority_is_tested(authority: Service) -> None:
    asked = {"getSenders", "getDispatchers", "isSenderAccepted"}
    assert set(authority.proxy._operations) == asked | set(AUTHORITY_READ_ONLY)


@pytest.mark.parametrize("path", ["Recipient/v3", "Authority"])
def test_a_served_wsdl_names_the_address_of_its_request(both: str, far: str, http: httpx.Client, path: str) -> None:
    for base in (far, f"{both}/se"):
        response = http.get(f"{base}/{path}?wsdl")
        assert response.status_code == 200
        assert response.headers["content-type"].startswith(("text/xml", "application/wsdl+xml"))
        (address,) = etree.fromstring(response.content).iter("{http://schemas.xmlsoap.org/wsdl/soap/}address")
        assert address.get("location") == f"{base}/{path}"


def test_a_register_with_a_name_answers_under_its_name(both: str) -> None:
    client = zeep.Client(f"{both}/se/Recipient/v3?wsdl", transport=transport())
    agree(client.service.isReachable(SENDER, registered()[:20]), lookup(FAR, registered()[:20], SENDER))
