-- Chat calls that an edge answered whole in a span of time, and that the ledger has not charged.
SELECT stream_seq, request_id, account_id
FROM requests
WHERE time >= fromUnixTimestamp64Milli($first_ms) AND time < fromUnixTimestamp64Milli($end_ms)
    AND route = 'chat' AND status = 200 AND code = '' AND NOT disconnected
    AND request_id NOT IN
    (
        SELECT request_id FROM charges
        WHERE time >= fromUnixTimestamp64Milli($first_ms - 3600000) AND time < fromUnixTimestamp64Milli($end_ms + 172800000)
    )
LIMIT 1000
