SELECT request_id, count() AS times, max(stream_seq) AS reported_at
FROM requests
WHERE time >= fromUnixTimestamp64Milli($first_ms) AND time < fromUnixTimestamp64Milli($end_ms)
GROUP BY request_id
HAVING times > 1
LIMIT 1000
