-- What the edges saw: every API call, refusals too. Edges report in batches; a call is here within seconds.

CREATE TABLE IF NOT EXISTS requests
(
    stream_seq UInt64 COMMENT 'USAGE position of the report' CODEC(Delta, ZSTD),
    event_index UInt16 COMMENT 'which event of that message, from 0',
    time DateTime64(3, 'UTC') COMMENT 'when the edge received the request, the edge''s clock' CODEC(Delta, ZSTD),
    request_id String COMMENT 'req_ + 24 hex digits; the same as in charges' CODEC(ZSTD),
    account_id String COMMENT 'whose key it was; empty: the key is unknown',
    key_id LowCardinality(String) COMMENT 'the API key; empty: unknown',
    model LowCardinality(String) COMMENT 'model asked for; empty: none',
    provider LowCardinality(String) COMMENT 'who served it; empty: nobody, or not known',
    route LowCardinality(String) COMMENT 'chat, models, balance, usage, requests …',
    status UInt16 COMMENT 'HTTP status; 0: the client left before an answer',
    code LowCardinality(String) COMMENT 'error code; empty: none',
    first_byte_us UInt32 COMMENT 'microseconds until the first byte of the answer' CODEC(T64, ZSTD),
    duration_us UInt32 COMMENT 'microseconds until the end of the answer' CODEC(T64, ZSTD),
    request_bytes UInt32 COMMENT 'size of the body' CODEC(T64, ZSTD),
    response_bytes UInt64 COMMENT 'size of the answer' CODEC(T64, ZSTD),
    streamed Bool COMMENT 'answered as an event stream',
    disconnected Bool COMMENT 'the client left before the end',
    attempts UInt8 COMMENT 'cores that were asked',
    edge LowCardinality(String) COMMENT 'which edge',
    INDEX by_request request_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_position stream_seq TYPE minmax GRANULARITY 1
)
ENGINE = $MergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (account_id, time, stream_seq, event_index)
SETTINGS $exactly_once
COMMENT 'One row for each API call as its edge saw it: status, code, latency';

CREATE TABLE IF NOT EXISTS usage_batches
(
    stream_seq UInt64 COMMENT 'USAGE position',
    time DateTime64(3, 'UTC') COMMENT 'when the stream took it',
    edge LowCardinality(String) COMMENT 'which edge',
    epoch String COMMENT '16 hex digits, minted at each start of the edge',
    number UInt64 COMMENT '1, 2, 3 … within the epoch; a number that is missing was lost',
    events UInt32 COMMENT 'reports in it',
    dropped UInt64 COMMENT 'reports that this epoch has dropped so far because its buffer was full'
)
ENGINE = $MergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (edge, epoch, number, stream_seq)
SETTINGS $exactly_once
COMMENT 'One row for each batch that an edge reported: shows what never arrived';
