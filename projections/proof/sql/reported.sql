-- How many calls were charged in a span of time, and how many of these an edge has reported.
SELECT count() AS charged, countIf(request_id IN
(
    SELECT request_id FROM requests
    WHERE time >= fromUnixTimestamp64Milli($first_ms - 172800000) AND time < fromUnixTimestamp64Milli($end_ms + 3600000)
)) AS reported
FROM charges
WHERE time >= fromUnixTimestamp64Milli($first_ms) AND time < fromUnixTimestamp64Milli($end_ms)
