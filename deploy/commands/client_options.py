"""The options of `medsage client add`."""

from pathlib import Path
from typing import Annotated

import typer

ClientId = Annotated[str, typer.Argument(help="The client's id.")]
Data = Annotated[Path | None, typer.Option(help="Folder of the embedded store.")]
Name = Annotated[str | None, typer.Option(help="Name as people see it.")]
Scope = Annotated[str | None, typer.Option(help="The most that it may be granted.")]
RedirectUri = Annotated[
    list[str] | None, typer.Option(help="Where codes are sent; compared letter by letter.")
]
LaunchUri = Annotated[str | None, typer.Option(help="Where an EHR opens it.")]
LogoutUri = Annotated[
    list[str] | None, typer.Option(help="Where it may send people after signing out.")
]
FrameOrigin = Annotated[
    list[str] | None, typer.Option(help="Origin of an EHR that may frame its launch.")
]
Backend = Annotated[
    bool, typer.Option("--backend", help="A backend service: client_credentials, no user.")
]
JwksUri = Annotated[str | None, typer.Option(help="Address of its public keys.")]
Jwks = Annotated[Path | None, typer.Option(help="File with its public keys (a JWK Set).")]
Secret = Annotated[
    bool, typer.Option("--secret", help="It has a secret, made here and shown once.")
]
Public = Annotated[
    bool, typer.Option("--public", help="It has neither key nor secret (PKCE alone).")
]
Metadata = Annotated[
    Path | None, typer.Option(help="File with RFC 7591 metadata, instead of the options above.")
]
FirstParty = Annotated[
    bool, typer.Option("--first-party", help="Ours: people are not asked for consent.")
]
Ehr = Annotated[bool, typer.Option("--ehr", help="May launch apps and sign its users in to them.")]
ResourceServer = Annotated[
    bool, typer.Option("--resource-server", help="May ask about every token (introspection).")
]
Tenant = Annotated[
    str, typer.Option(help="The tenant that it serves; one of the default tenant serves all users.")
]
