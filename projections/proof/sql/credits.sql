SELECT
    stream_seq, event_index, leg, toUnixTimestamp64Milli(time) AS time_ms, account_id, toInt8(kind) AS kind,
    amount_nano, reference
FROM credits
WHERE stream_seq BETWEEN $first AND $last
