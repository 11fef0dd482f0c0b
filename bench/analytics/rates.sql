-- The rate of each day, the one that calls.sql uses.
INSERT INTO fx_rates (stream_seq, event_index, time, base, quote, rate_nano, source, reference)
SELECT
    10 + number, 0, toDateTime64('2026-09-30 21:00:00', 3, 'UTC') + toIntervalDay(number), 'USD', 'TRY',
    41500000000 + number * 23000000 + cityHash64(number) % 90000000, 'tcmb', toString(toDate('2026-10-01') + number)
FROM numbers(31)
