"""Questions over HTTP: what ClickHouse's own clients need is answered, and nothing but the tables can be reached."""

from collections.abc import AsyncIterator, Iterator
from urllib.parse import quote

import clickhouse_connect
import orjson
import pytest

from projections.analytics.access import partner_sql, reader_sql
from projections.analytics.asks import usage_of
from projections.analytics.endpoint import Endpoint
from projections.analytics.guard import QueryRefused, has_format, one_statement
from projections.analytics.migrate import migrate
from projections.analytics.readers import Readers
from projections.analytics.store import Store, parse_dsn
from proto.onysoft.v1 import work_pb2
from runtime.ops import Ops
from runtime.settings import Settings


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One for all: nothing here may change it."""
    opened = Store.open(parse_dsn(f"chdb://{tmp_path_factory.mktemp('store')}"))
    migrate(opened, Settings())
    yield opened
    opened.close()


@pytest.fixture
async def readers(store: Store) -> AsyncIterator[Readers]:
    opened = Readers.open(store, Settings(analytics_query_s=5, analytics_result_bytes=1_000_000))
    yield opened
    await opened.close()


@pytest.fixture
async def port(readers: Readers) -> AsyncIterator[int]:
    ops = Ops(Settings(), "analytics", lambda: None)
    ops.serve_more(Endpoint(readers).answer, 5)
    yield await ops.start()
    await ops.close()


@pytest.mark.parametrize(
    "query",
    [
        "DROP TABLE charges",
        "INSERT INTO charges SELECT * FROM charges",
        "CREATE TABLE x (a Int8) ENGINE = Memory",
        "ALTER TABLE charges DELETE WHERE 1",
        "SET readonly = 0",
        "SELECT 1 SETTINGS readonly = 0",
        "SYSTEM STOP MERGES",
        "SELECT file('/etc/passwd')",
        "SELECT `file`('/etc/passwd')",
        "SELECT * FROM file('/etc/passwd', 'LineAsString')",
        "EXPLAIN SELECT FILE('/etc/passwd')",
        "WITH x AS (SELECT file('/etc/passwd') AS y) SELECT * FROM x",
        "SELECT * FROM view(SELECT file('/etc/passwd'))",
        "DESCRIBE s3('http://127.0.0.1/a/b')",
        "SELECT * FROM url('http://127.0.0.1/', 'CSV', 'a String')",
        "SELECT * FROM remote('127.0.0.1', system.one)",
        "SELECT * FROM Python(settings)",
        "SELECT * FROM executable('id', 'CSV', 'a String')",
        "SELECT aiGenerate('x')",
        "SELECT 1 INTO OUTFILE '/dev/null'",
        "SELECT 1 INTO/**/OUTFILE '/dev/null'",
        "SELECT 1; SELECT file('/etc/passwd')",
        "SELECT 1 # '\n; SELECT file('/etc/passwd') -- '",
        "",
        ";",
    ],
)
async def test_nothing_but_the_tables_can_be_reached(readers: Readers, query: str) -> None:
    """The port is read by dashboards; through a report nobody may read the machine's files or change a row."""
    page = await Endpoint(readers).answer("POST", "/", {}, query.encode())
    assert page is not None
    assert page.status >= 400 or page.body == b"Ok.\n"
    assert b"root:" not in page.body


@pytest.mark.parametrize(
    "query",
    [
        "SELECT count() FROM charges;",
        "SELECT ';' AS a, 'it''s; ok' AS b -- ; \n",
        "SHOW TABLES",
        "DESCRIBE TABLE charges",
        "SHOW CREATE TABLE charges",
        "EXPLAIN SELECT * FROM calls",
        "EXISTS TABLE charges",
        "WITH 1 AS x SELECT x FROM numbers(2) FORMAT JSON",
        "SELECT 1 UNION ALL SELECT 2",
        "SELECT * FROM margins FORMAT CSVWithNames",
    ],
)
async def test_what_reads_the_tables_is_answered(readers: Readers, query: str) -> None:
    page = await Endpoint(readers).answer("GET", f"/?query={quote(query)}", {}, b"")
    assert page is not None
    assert page.status == 200, page.body


def test_more_than_one_statement_is_seen_in_every_disguise() -> None:
    assert one_statement("SELECT 1 ;; \n") == "SELECT 1"
    for query in ("SELECT 1; SELECT 2", "SELECT $a$'$a$; SELECT '2'", "SELECT ‘'; SELECT 2 --’'"):
        with pytest.raises(QueryRefused):
            one_statement(query)
    assert has_format("SELECT 1 FORMAT CSV")
    assert has_format("SELECT 1\nformat JSON SETTINGS max_threads = 1")
    assert not has_format("SELECT format('{}', 'x')")


async def test_a_query_that_asks_for_too_much_is_refused(readers: Readers) -> None:
    """One careless question must not take the machine's memory, nor the sink's turn, for long."""
    endpoint = Endpoint(readers)
    for query, word in (
        ("SELECT * FROM numbers(10000000)", b"TOO_MANY_ROWS_OR_BYTES"),
        ("SELECT sum(number) FROM numbers(1000000000000)", b"TIMEOUT_EXCEEDED"),
    ):
        page = await endpoint.answer("POST", "/", {}, query.encode())
        assert page is not None
        assert page.status >= 400
        assert word in page.body


async def test_clickhouse_connect_can_ask(port: int, store: Store) -> None:
    """Analysts use what they know: the usual client, its parameters, its data frames."""
    rate = "1, 0, '2026-11-01 00:00:00.000', 'USD', 'TRY', 40000000000, 'tcmb', 'x'"
    store.command(f"INSERT INTO fx_rates VALUES ({rate})")
    client = await clickhouse_connect.get_async_client(host="127.0.0.1", port=port)
    found = await client.query(
        "SELECT rate_nano, source FROM fx_rates WHERE base = {base:String} AND stream_seq IN {seqs:Array(UInt64)}",
        parameters={"base": "USD", "seqs": [1, 2]},
    )
    assert found.column_names == ("rate_nano", "source")
    assert found.result_rows == [(40_000_000_000, "tcmb")]
    odd = await client.query("SELECT {text:String} AS text", parameters={"text": "tab\tnew\nline'quote\\"})
    assert odd.result_rows == [("tab\tnew\nline'quote\\",)]
    with pytest.raises(clickhouse_connect.driver.exceptions.DatabaseError, match=r"READONLY|only SELECT"):
        await client.command("TRUNCATE TABLE charges")
    await client.close()


def test_totals_of_usage_are_exact_decimals() -> None:
    """A customer adds up the days and compares with the invoice."""
    question = work_pb2.UsageQuestion(first_day="2026-11-01", last_day="2026-11-02", group_by="day")
    rows = [("2026-11-01", "TRY", 100_000_001, 1, 10, 20, 0, 0), ("2026-11-02", "TRY", 200_000_002, 2, 1, 2, 3, 4)]
    text = orjson.dumps(usage_of(question, rows, 1_790_000_000_000))
    body = orjson.loads(text)
    assert [day["day"] for day in body["data"]] == ["2026-11-01", "2026-11-02"]
    assert b'"cost":0.100000001,' in text
    assert b'"cost":0.300000003,' in text
    assert (body["total"]["requests"], body["total"]["cached_tokens"]) == (3, 3)
    assert usage_of(question, [], 0)["total"]["requests"] == 0


def test_the_sql_of_users_is_what_clickhouse_can_parse(store: Store) -> None:
    """A partner who could read another's rows would read another company's customers."""
    account = "acc_" + "0" * 24
    for text in (
        reader_sql(Settings(), "onysoft", "ana", "secret"),
        partner_sql(Settings(), "onysoft", "acme", "secret", account),
    ):
        assert "secret" not in text
        lines = [line for line in text.splitlines() if not line.startswith("--")]
        for statement in "\n".join(lines).split(";\n"):
            if statement.strip():
                store.raw("EXPLAIN AST " + statement.strip().rstrip(";"), {}, None)
    for user, wrong in (("acme; DROP", account), ("acme", "acc_1' OR '1")):
        with pytest.raises(ValueError, match=r"name|id"):
            partner_sql(Settings(), "onysoft", user, "secret", wrong)
