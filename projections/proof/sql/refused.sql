-- Calls that an edge refused with a client's error and that were charged all the same, or charged to somebody else.
SELECT r.stream_seq AS reported_at, r.request_id, r.status, r.code, r.account_id, r.key_id, c.account_id, c.key_id, c.stream_seq
FROM requests AS r INNER JOIN
(
    SELECT request_id, account_id, key_id, stream_seq FROM charges
    WHERE time >= fromUnixTimestamp64Milli($first_ms - 3600000) AND time < fromUnixTimestamp64Milli($end_ms + 172800000)
) AS c ON c.request_id = r.request_id
WHERE r.time >= fromUnixTimestamp64Milli($first_ms) AND r.time < fromUnixTimestamp64Milli($end_ms)
    AND (r.status IN (400, 401, 402, 403, 404, 413, 429) OR r.account_id != c.account_id OR r.key_id != c.key_id)
LIMIT 1000
