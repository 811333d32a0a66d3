"""Who may do what in a new organisation, as data: the permissions there are, and the groups with what each is given.

A permission is an action on a target. ``ACTIONS_ON`` lists the actions that make sense on each target; a group is
given some of them. An organisation changes its groups afterwards as it likes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

ACTIONS = (
    "CREATE",
    "READ",
    "UPDATE",
    "DELETE",
    "SUBMIT",
    "APPROVE",
    "CANCEL",
    "REJECT",
    "RETEST",
    "INVALIDATE",
    "PUBLISH",
    "PRINT",
    "ISSUE",
    "STORE",
    "ASSIGN",
)

_EDIT = ("CREATE", "READ", "UPDATE", "DELETE")

ACTIONS_ON: Mapping[str, tuple[str, ...]] = {
    "ORGANISATION": ("READ", "UPDATE"),
    "LABORATORY": _EDIT,
    "CLIENT": _EDIT,
    "PATIENT": (*_EDIT, "PRINT"),
    "SAMPLE": (*_EDIT, "CANCEL", "REJECT", "INVALIDATE", "PUBLISH", "PRINT", "STORE", "ASSIGN"),
    "RESULT": ("READ", "UPDATE", "SUBMIT", "APPROVE", "CANCEL", "RETEST", "INVALIDATE", "ASSIGN"),
    "WORKSHEET": (*_EDIT, "SUBMIT", "APPROVE", "CANCEL", "PRINT", "ASSIGN"),
    "PRODUCT": (*_EDIT, "ISSUE"),
    "PRODUCT_ORDER": (*_EDIT, "SUBMIT", "APPROVE", "CANCEL", "REJECT", "ISSUE"),
    "SHIPMENT": (*_EDIT, "SUBMIT", "CANCEL", "REJECT", "PRINT", "ASSIGN"),
    "STORAGE": (*_EDIT, "STORE"),
    "NOTICE": _EDIT,
    "BILLING": (*_EDIT, "CANCEL", "PRINT", "ISSUE"),
    "SCHEMES": _EDIT,
    "DOCUMENT": (*_EDIT, "SUBMIT", "APPROVE", "REJECT", "PUBLISH", "PRINT"),
    "ANALYTICS": ("READ", "PRINT"),
}


@dataclass(frozen=True)
class GroupSeed:
    """A group of a new organisation: the screens it opens and what it is given, target by target."""

    name: str
    keyword: str
    pages: tuple[str, ...]
    given: Mapping[str, tuple[str, ...]]


GROUPS = (
    GroupSeed(
        "ADMINISTRATOR",
        "ADMINISTRATOR",
        (
            "DASHBOARD",
            "PATIENTS",
            "CLIENTS",
            "SAMPLES",
            "WORKSHEETS",
            "INVENTORY",
            "STORAGE",
            "REFERRAL",
            "SCHEMES",
            "BILLING",
            "DOCUMENTS",
            "NOTICES",
            "ANALYTICS",
            "ADMINISTRATION",
        ),
        ACTIONS_ON,
    ),
    GroupSeed(
        "LAB MANAGER",
        "LAB_MANAGER",
        (
            "DASHBOARD",
            "PATIENTS",
            "CLIENTS",
            "SAMPLES",
            "WORKSHEETS",
            "INVENTORY",
            "STORAGE",
            "REFERRAL",
            "SCHEMES",
            "DOCUMENTS",
            "NOTICES",
            "ANALYTICS",
        ),
        {
            "ORGANISATION": ("READ",),
            "LABORATORY": ("READ", "UPDATE"),
            "CLIENT": ACTIONS_ON["CLIENT"],
            "PATIENT": ACTIONS_ON["PATIENT"],
            "SAMPLE": ACTIONS_ON["SAMPLE"],
            "RESULT": ACTIONS_ON["RESULT"],
            "WORKSHEET": ACTIONS_ON["WORKSHEET"],
            "PRODUCT": ACTIONS_ON["PRODUCT"],
            "PRODUCT_ORDER": ACTIONS_ON["PRODUCT_ORDER"],
            "SHIPMENT": ACTIONS_ON["SHIPMENT"],
            "STORAGE": ACTIONS_ON["STORAGE"],
            "NOTICE": ACTIONS_ON["NOTICE"],
            "BILLING": ("READ", "PRINT"),
            "SCHEMES": ACTIONS_ON["SCHEMES"],
            "DOCUMENT": ACTIONS_ON["DOCUMENT"],
            "ANALYTICS": ACTIONS_ON["ANALYTICS"],
        },
    ),
    GroupSeed(
        "SCIENTIST",
        "SCIENTIST",
        (
            "DASHBOARD",
            "PATIENTS",
            "CLIENTS",
            "SAMPLES",
            "WORKSHEETS",
            "INVENTORY",
            "STORAGE",
            "REFERRAL",
            "DOCUMENTS",
            "NOTICES",
            "ANALYTICS",
        ),
        {
            "LABORATORY": ("READ",),
            "CLIENT": ("CREATE", "READ", "UPDATE"),
            "PATIENT": ("CREATE", "READ", "UPDATE", "PRINT"),
            "SAMPLE": (
                "CREATE",
                "READ",
                "UPDATE",
                "CANCEL",
                "REJECT",
                "INVALIDATE",
                "PUBLISH",
                "PRINT",
                "STORE",
                "ASSIGN",
            ),
            "RESULT": ACTIONS_ON["RESULT"],
            "WORKSHEET": ("CREATE", "READ", "UPDATE", "SUBMIT", "APPROVE", "CANCEL", "PRINT", "ASSIGN"),
            "PRODUCT": ("READ",),
            "PRODUCT_ORDER": ("CREATE", "READ", "UPDATE", "SUBMIT"),
            "SHIPMENT": ("CREATE", "READ", "UPDATE", "SUBMIT", "PRINT", "ASSIGN"),
            "STORAGE": ("READ", "STORE"),
            "NOTICE": ("CREATE", "READ", "UPDATE"),
            "DOCUMENT": ("CREATE", "READ", "UPDATE", "SUBMIT", "PRINT"),
            "ANALYTICS": ("READ",),
        },
    ),
    GroupSeed(
        "TECHNOLOGIST",
        "TECHNOLOGIST",
        ("DASHBOARD", "PATIENTS", "CLIENTS", "SAMPLES", "WORKSHEETS", "INVENTORY", "STORAGE", "REFERRAL", "NOTICES"),
        {
            "LABORATORY": ("READ",),
            "CLIENT": ("READ",),
            "PATIENT": ("CREATE", "READ", "UPDATE"),
            "SAMPLE": ("CREATE", "READ", "UPDATE", "CANCEL", "REJECT", "PRINT", "STORE", "ASSIGN"),
            # No APPROVE: whoever enters a result does not verify it.
            "RESULT": ("READ", "UPDATE", "SUBMIT", "CANCEL", "ASSIGN"),
            "WORKSHEET": ("CREATE", "READ", "UPDATE", "SUBMIT", "PRINT", "ASSIGN"),
            "PRODUCT": ("READ",),
            "PRODUCT_ORDER": ("CREATE", "READ", "SUBMIT"),
            "SHIPMENT": ("CREATE", "READ", "UPDATE", "PRINT", "ASSIGN"),
            "STORAGE": ("READ", "STORE"),
            "NOTICE": ("READ",),
            "DOCUMENT": ("READ", "PRINT"),
        },
    ),
    GroupSeed(
        "LABORATORY HAND",
        "LABORATORY_HAND",
        ("DASHBOARD", "PATIENTS", "CLIENTS", "SAMPLES", "STORAGE", "NOTICES"),
        {
            "LABORATORY": ("READ",),
            "CLIENT": ("READ",),
            "PATIENT": ("CREATE", "READ", "UPDATE"),
            "SAMPLE": ("CREATE", "READ", "REJECT", "PRINT", "STORE"),
            "STORAGE": ("READ", "STORE"),
            "NOTICE": ("READ",),
        },
    ),
    GroupSeed(
        "GUEST",
        "GUEST",
        ("DASHBOARD", "NOTICES"),
        {"LABORATORY": ("READ",), "NOTICE": ("READ",)},
    ),
    GroupSeed(
        "STORES",
        "STORES",
        ("DASHBOARD", "INVENTORY", "STORAGE", "NOTICES"),
        {
            "LABORATORY": ("READ",),
            "PRODUCT": ACTIONS_ON["PRODUCT"],
            "PRODUCT_ORDER": ACTIONS_ON["PRODUCT_ORDER"],
            "STORAGE": ("CREATE", "READ", "UPDATE"),
            "NOTICE": ("READ",),
        },
    ),
    GroupSeed(
        "ACCOUNTING",
        "ACCOUNTING",
        ("DASHBOARD", "CLIENTS", "BILLING", "SCHEMES", "NOTICES", "ANALYTICS"),
        {
            "LABORATORY": ("READ",),
            "CLIENT": ("READ", "UPDATE"),
            "BILLING": ACTIONS_ON["BILLING"],
            "SCHEMES": ("READ",),
            "NOTICE": ("READ",),
            "ANALYTICS": ("READ",),
        },
    ),
)

ADMINISTRATOR = "ADMINISTRATOR"  # keyword of the group that is given everything

# (name, code) of the departments a new organisation begins with.
DEPARTMENTS = (
    ("Clinical Chemistry", "CHEM"),
    ("Haematology", "HAEM"),
    ("Blood Transfusion", "BT"),
    ("Microbiology", "MICRO"),
    ("Parasitology", "PARA"),
    ("Serology", "SERO"),
    ("Immunology", "IMMU"),
    ("Virology", "VIRO"),
    ("Molecular Biology", "MOL"),
    ("Histopathology", "HISTO"),
    ("Cytology", "CYTO"),
)
