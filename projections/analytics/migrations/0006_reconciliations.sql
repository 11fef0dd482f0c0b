-- What the reconciliation that runs by itself has found, once each time. Kept for people who look back; the alert is the
-- metric's.
CREATE TABLE IF NOT EXISTS reconciliations
(
    time DateTime64(3, 'UTC') COMMENT 'when it ended, the analytics process''s clock',
    first_position UInt64 COMMENT 'first LEDGER position whose rows were compared; 0: only balances were',
    last_position UInt64 COMMENT 'last LEDGER position compared',
    seconds Float64 COMMENT 'how long it took',
    accounts UInt64 COMMENT 'accounts whose balances were compared; 0: the tables were already further',
    differences UInt64 COMMENT 'differences found since the process started, and in this run''s balances; must be 0',
    found Array(String) COMMENT 'the first of this run''s, in words, each with its position',
    problem String COMMENT 'why it could not be finished; empty: it was'
)
ENGINE = $MergeTree
PARTITION BY toYYYYMM(time)
ORDER BY time
COMMENT 'Runs of the periodic reconciliation between ledger and tables';
