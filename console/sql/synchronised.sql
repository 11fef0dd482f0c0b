-- Versions of catalogue entries that came into force, by the minute and who approved them; nobody: the core by itself.
SELECT
    toUnixTimestamp64Milli(min(time)) AS time_ms, actor, count() AS changed, min(stream_seq) AS position,
    arraySlice(groupArray(subject), 1, 5) AS models
FROM changes
WHERE event = 'model_set' AND outcome = 'applied'
GROUP BY toStartOfMinute(time), actor
ORDER BY time_ms DESC
LIMIT {limit:UInt32}
