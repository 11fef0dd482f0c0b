-- Exchange rates, the latest first, and by how much each differs from the one before.
SELECT
    time_ms, base, quote, rate, source, reference, position,
    if(before = 0, NULL, toInt64(round(10000 * (rate_nano - before) / before))) AS change_bps
FROM
(
    SELECT
        toUnixTimestamp64Milli(time) AS time_ms, base, quote, rate_nano, source, reference, stream_seq AS position,
        toString(reinterpret(rate_nano, 'Decimal(18, 9)')) AS rate,
        lagInFrame(rate_nano, 1, 0) OVER (PARTITION BY base, quote ORDER BY stream_seq, event_index) AS before
    FROM fx_rates
)
ORDER BY position DESC
LIMIT {limit:UInt32}
