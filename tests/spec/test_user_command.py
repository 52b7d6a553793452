"""`medsage user add --tenant`: people of a tenant that the settings name."""

import asyncio
from pathlib import Path

from typer.testing import CliRunner

from deploy.cli import app
from fhir_server.security.authorization.users import KIND
from fhir_server.storage.sqlite.store import SqliteStore


def added(folder: Path, tenant: str, tenants: str) -> tuple[int, str]:
    command = ["user", "add", "dr.kofi", "--name", "Dr Kofi", "--role", "doctor"]
    environment = {"MEDSAGE_TENANTS": tenants, "MEDSAGE_DATA": str(folder)}
    password = "correct horse battery\n"
    result = CliRunner().invoke(
        app, [*command, "--tenant", tenant], input=password * 2, env=environment
    )
    return result.exit_code, result.output


async def tenant_of(folder: Path) -> str | None:
    store = SqliteStore.open(folder / "medsage.sqlite")
    record = await store.record(KIND, "dr.kofi")
    await store.close()
    return None if record is None else record.value["tenant"]


def test_a_user_is_added_to_a_tenant_that_there_is(tmp_path: Path) -> None:
    code, said = added(tmp_path, "north", "")
    assert code == 1
    assert "MEDSAGE_TENANTS names no tenant 'north'" in said
    code, said = added(tmp_path, "north", "south, north")
    assert code == 0, said
    assert asyncio.run(tenant_of(tmp_path)) == "north"
