-- The last runs of the periodic reconciliation.
SELECT
    toUnixTimestamp64Milli(time) AS time_ms, first_position, last_position, seconds, accounts, differences, found, problem
FROM reconciliations
ORDER BY time DESC
LIMIT {limit:UInt32}
