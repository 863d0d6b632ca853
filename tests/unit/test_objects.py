"""Tables in an S3-compatible store: Polars' own client against a small server that checks signatures."""

import gzip
import io
from pathlib import Path

import polars as pl
import pytest

from parley.core.errors import UsageError
from parley.data.objects import store_of
from parley.data.sources import S3Source, parse_source, read

from tests.s3 import KEY, SECRET, store

TEXT = "id,x,n,when\na,1.5,7,2024-01-31\nb,,8,2024-02-01\n"


@pytest.fixture(scope="module")
def bank():
    with store() as server:
        yield server


def refused(code, function, *args):
    with pytest.raises(UsageError) as caught:
        function(*args)
    assert caught.value.code == code
    assert not any(secret in str(caught.value) for secret in (KEY, SECRET, "hunter2"))
    return caught.value


def parquet(frame, **options):
    file = io.BytesIO()
    frame.write_parquet(file, **options)
    return file.getvalue()


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.csv.gz", "a b+ü/t.CSV"])
def test_a_text_object_reads_like_the_file(bank, tmp_path, name):
    text = TEXT.replace(",", "\t") if name.endswith("tsv") else TEXT
    data = gzip.compress(text.encode()) if name.endswith("gz") else text.encode()
    bank.objects[name] = data
    (tmp_path / Path(name).name).write_bytes(data)
    here = read(parse_source(str(tmp_path / Path(name).name)))
    there = read(parse_source(f"s3://bank/{name}"), bank.environment)
    assert there.equals(here, null_equal=True)
    assert there.schema == here.schema


def test_of_a_parquet_object_only_the_columns_that_are_used_travel(bank):
    frame = pl.DataFrame({"id": range(20_000), "x": [i * 0.37 for i in range(20_000)]})
    wide = frame.with_columns(pl.col("x").sin().alias(f"y{at}") for at in range(20))
    bank.objects["wide.parquet"] = parquet(wide, row_group_size=5_000)
    bank.asked.clear()
    some = read(parse_source("s3://bank/wide.parquet"), bank.environment, ["x", "id"])
    assert some.equals(frame)
    assert (
        sum(size for command, _, size in bank.asked if command == "GET")
        < len(bank.objects["wide.parquet"]) / 2
    )


def test_the_parts_of_a_prefix_are_one_table_in_the_order_of_their_names(bank):
    for at in range(3):
        bank.objects[f"loans/part-{at}.parquet"] = parquet(pl.DataFrame({"id": [2 * at, 2 * at + 1]}))
    bank.objects["loans/_SUCCESS"] = b""
    rows = read(parse_source("s3://bank/loans/*.parquet"), bank.environment)
    assert rows["id"].to_list() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("key", "data", "code"),
    [
        ("none.csv", None, "source-missing"),
        ("none.parquet", None, "source-missing"),
        ("none/*.parquet", None, "source-missing"),
        ("empty.csv", b"", "source-unreadable"),
        ("bare.csv", b"id,x\n", "source-empty"),
        ("odd.parquet", b"PAR1 but not really", "source-unreadable"),
        ("twice.csv", b"id,id\n1,2\n", "source-duplicate-columns"),
    ],
)
def test_an_object_that_is_no_table_is_refused(bank, key, data, code):
    if data is not None:
        bank.objects[key] = data
    refused(code, read, parse_source(f"s3://bank/{key}"), bank.environment)


def test_a_wrong_key_is_refused_by_the_store_and_not_shown(bank):
    bank.objects["t.parquet"] = parquet(pl.DataFrame({"id": [1]}))
    wrong = bank.environment | {"AWS_SECRET_ACCESS_KEY": "hunter2"}
    for name in ("t.parquet", "t.csv"):
        refused("source-unreadable", read, parse_source(f"s3://bank/{name}"), wrong)


def test_credentials_come_from_a_profile_that_is_named(bank, tmp_path):
    bank.objects["t.csv"] = TEXT.encode()
    file = tmp_path / "credentials"
    file.write_text(f"[risk]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n")
    environment = {"AWS_SHARED_CREDENTIALS_FILE": str(file), "AWS_ENDPOINT_URL": bank.endpoint}
    assert read(S3Source("s3://bank/t.csv?profile=risk"), environment).height == 2
    assert read(S3Source("s3://bank/t.csv"), environment | {"AWS_PROFILE": "risk"}).height == 2
    refused("s3-profile", read, S3Source("s3://bank/t.csv?profile=other"), environment)
    bare = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none")}
    refused("s3-profile", read, S3Source("s3://bank/t.csv"), bare)


def test_rows_go_in_the_clear_only_on_this_machine_or_where_it_is_said():
    environment = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    url = "s3://bank/t.csv?endpoint=http://store.example:9000"
    refused("s3-not-encrypted", store_of, url, environment)
    assert store_of(f"{url}&allow-http=yes", environment).storage["aws_allow_http"] == "true"
    assert (
        store_of("s3://bank/t.csv?endpoint=http://127.0.0.1:1", environment).storage["aws_allow_http"]
        == "true"
    )


def test_a_store_shows_no_secret(bank):
    where = store_of("s3://bank/t.csv", bank.environment)
    assert SECRET not in repr(where)
    assert where.without_secrets(f"signed by {SECRET}") == "signed by ***"


@pytest.mark.parametrize(
    "url",
    [
        "s3:///t.csv",
        "s3://bank/t.csv?colour=red",
        "s3://bank/t.csv?allow-http=1",
        "s3://me:hunter2@bank/t.csv",
    ],
)
def test_a_url_that_says_what_there_is_not_is_refused(url):
    refused("s3-option", parse_source, url)
