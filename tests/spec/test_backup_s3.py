"""Backups in a bucket: signatures as Amazon's published examples, and what the store is asked."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from fhir_server.backup import s3
from fhir_server.backup.catalogue import catalogue
from fhir_server.backup.create import Source, create
from fhir_server.backup.problems import TargetFailed
from fhir_server.backup.s3 import Bucket, S3Target
from fhir_server.backup.seals import SealKeys
from fhir_server.backup.signature import Access, Asked, signed_headers
from fhir_server.backup.verify import verify
from fhir_server.storage.master_keys import master_keys
from fhir_server.storage.port import Draft
from fhir_server.storage.sqlite.store import SqliteStore
from tests.s3_double import ACCESS, BUCKET, ENDPOINT, NOW, S3Double
from tests.stores import MASTER, put, version

EXAMPLE = Access("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "us-east-1")
HOST = "examplebucket.s3.amazonaws.com"


@pytest.mark.parametrize(
    ("asked", "extra", "signature"),
    [
        (
            Asked("GET", HOST, "/test.txt", {}),
            {"range": "bytes=0-9"},
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            Asked("PUT", HOST, "/test$file.text", {}, b"Welcome to Amazon S3."),
            {
                "date": "Fri, 24 May 2013 00:00:00 GMT",
                "x-amz-storage-class": "REDUCED_REDUNDANCY",
            },
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        (
            Asked("GET", HOST, "/", {"lifecycle": ""}),
            {},
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        (
            Asked("GET", HOST, "/", {"max-keys": "2", "prefix": "J"}),
            {},
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ],
    ids=["get", "put", "lifecycle", "list"],
)
def test_requests_are_signed_as_amazons_examples_are(
    asked: Asked, extra: dict[str, str], signature: str
) -> None:
    headers = signed_headers(asked, EXAMPLE, datetime(2013, 5, 24, tzinfo=UTC), extra)
    assert headers["authorization"].endswith(f"Signature={signature}")


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> S3Double:
    monkeypatch.setattr(s3, "_FIRST_PAUSE_SECONDS", 0)
    return S3Double()


def target_of(double: S3Double, access: Access = ACCESS, bucket: str = BUCKET) -> S3Target:
    http = httpx.AsyncClient(transport=httpx.MockTransport(double.handle))
    return S3Target(http, Bucket(ENDPOINT, bucket, "site one/"), access, lambda: NOW)


@pytest.fixture
async def target(double: S3Double) -> AsyncIterator[S3Target]:
    made = target_of(double)
    yield made
    await made.close()


async def test_contents_are_put_listed_read_and_deleted(double: S3Double, target: S3Target) -> None:
    double.objects["another site/x"] = b""
    for name in ("a/1", "a/2 +&", "a/3", "b/ü"):
        await target.put(name, name.encode())
    assert "site one/a/2 +&" in double.objects
    assert await target.names() == ["a/1", "a/2 +&", "a/3", "b/ü"]
    assert await target.names("b/") == ["b/ü"]
    assert await target.get("a/2 +&") == b"a/2 +&"
    await target.delete("a/1")
    await target.delete("a/1")
    with pytest.raises(KeyError):
        await target.get("a/1")


async def test_what_may_be_over_in_a_moment_is_asked_again(
    double: S3Double, target: S3Target
) -> None:
    double.failures = [503, 500]
    await target.put("a", b"x")
    assert double.objects == {"site one/a": b"x"}
    double.failures = [503] * s3.ATTEMPTS
    with pytest.raises(TargetFailed, match="was answered 503"):
        await target.get("a")


async def test_a_refusal_is_told_in_the_stores_own_word_and_not_asked_again(
    double: S3Double,
) -> None:
    wrong = target_of(double, Access("AKIDEXAMPLE", "another key", "us-east-1"))
    with pytest.raises(TargetFailed, match="403 SignatureDoesNotMatch") as refused:
        await wrong.put("a", b"x")
    assert "another key" not in str(refused.value)
    assert double.asked == 1
    with pytest.raises(TargetFailed, match="no bucket elsewhere"):
        await target_of(double, bucket="elsewhere").names()
    with pytest.raises(TargetFailed, match="404 NoSuchBucket"):
        await target_of(double, bucket="elsewhere").put("a", b"x")


async def test_a_backup_lies_in_the_bucket_and_an_altered_one_is_noticed(
    tmp_path: Path, double: S3Double, target: S3Target
) -> None:
    store = SqliteStore.open(tmp_path / "store.sqlite")
    await put(store, Draft(version("Patient/1")))
    keys = SealKeys(master_keys([MASTER]))
    source = Source(store, lambda: (), "http://localhost", lambda: NOW)
    made = await create(source, target, keys)
    await store.close()
    found = await catalogue(target, keys)
    assert [each async for each in verify(target, found)] == [(made.manifest.backup, None)]
    (part,) = [name for name in double.objects if "part-" in name]
    double.objects[part] = double.objects[part][:-1]
    ((_, problem),) = [each async for each in verify(target, found)]
    assert "part-000000: it has" in str(problem)


async def test_when_the_bucket_is_lost_in_the_middle_nothing_half_made_is_left(
    tmp_path: Path, double: S3Double, target: S3Target
) -> None:
    store = SqliteStore.open(tmp_path / "store.sqlite")
    await put(store, Draft(version("Patient/1")))
    source = Source(store, lambda: (), "http://localhost", lambda: NOW)
    double.failures = [200, *[503] * s3.ATTEMPTS]
    with pytest.raises(TargetFailed):
        await create(source, target, SealKeys(master_keys([MASTER])))
    await store.close()
    assert double.objects == {}
